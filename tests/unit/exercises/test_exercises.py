"""Exercises: published numbers come out, the same seed asks the same question, and every wrong
answer is told why."""

import math
import re

import pytest
from typer.testing import CliRunner

from plumbline.cli.sandbox.exercise import app
from plumbline.errors import DataError
from plumbline.exercises.catalogue import EXERCISES, exercise
from plumbline.exercises.exercise import ExerciseQuestion, grade
from plumbline.objectives.worked_pair import dpo_pair

SEEDS = range(6)

every_exercise = pytest.mark.parametrize("name", EXERCISES)


@pytest.mark.requirement("E22")
def test_there_are_formulas_and_judgments():
    kinds = [one.kind for one in EXERCISES.values()]
    assert (len(kinds) >= 8, kinds.count("judgment") >= 3) == (True, True)
    assert all(name == one.name for name, one in EXERCISES.items())


@pytest.mark.requirement("E22")
@every_exercise
def test_the_right_answer_is_right_and_known_mistakes_are_named(name):
    for seed in SEEDS:
        question = exercise(name).question(seed)
        assert grade(question, str(question.answer)).right
        for mistake, number in question.mistakes.items():
            found = grade(question, repr(number))
            assert not found.right, (seed, mistake)
        for choice in set(question.choices) - {question.answer}:
            found = grade(question, choice)
            assert not found.right
            assert question.solution in found.message


@every_exercise
def test_a_seed_is_one_question_and_other_seeds_ask_others(name):
    assert exercise(name).question(3) == exercise(name).question(3)
    assert len({exercise(name).question(seed).text for seed in range(20)}) > 1


def test_bradley_terry_is_the_logistic_function_of_the_difference():
    """The numbers are read out of the question, so this is another way to the answer than the loss
    that the exercise uses."""
    for seed in SEEDS:
        question = exercise("bradley-terry").question(seed)
        first, second = (
            float(number)
            for number in re.findall(
                r"response (-?[\d.]+) and the second (-?[\d.]+)\.", question.text
            )[0]
        )
        assert question.answer == pytest.approx(1 / (1 + math.exp(second - first)))


def test_the_dpo_loss_is_equation_7():
    for seed in SEEDS:
        question = exercise("dpo-loss").question(seed)
        policy_c, policy_r, reference_c, reference_r, beta = (
            float(number.rstrip(".")) for number in re.findall(r"-?\d+\.?\d*", question.text)[:5]
        )
        margin = beta * ((policy_c - reference_c) - (policy_r - reference_r))
        assert question.answer == pytest.approx(math.log(1 + math.exp(-margin)), rel=1e-6)


def test_one_pair_pulls_with_the_slope_of_the_paper():
    """Rafailov et al. 2023, section 4: the slope is beta * sigmoid(-margin), against the chosen and
    toward the rejected response."""
    pair = dpo_pair((-5.0, -4.0), (-6.0, -3.0), 0.5)
    margin = 0.5 * ((-5.0 + 6.0) - (-4.0 + 3.0))
    slope = 0.5 / (1 + math.exp(margin))
    assert pair.loss == pytest.approx(math.log(1 + math.exp(-margin)))
    assert (pair.slope_chosen, pair.slope_rejected) == pytest.approx((-slope, slope))


def test_published_values():
    """Zero of n has a Wilson bound of z^2 / (n + z^2); the best of 16 costs 1.835 nats (Gao et al.
    2023)."""
    wilson = next(
        q
        for q in (exercise("wilson").question(seed) for seed in range(99))
        if q.text.startswith("0 of 300")
    )
    assert wilson.answer == pytest.approx(3.8415 / 303.8415, abs=1e-5)
    best = next(
        q
        for q in (exercise("best-of-n").question(seed) for seed in range(99))
        if " 16 responses" in q.text
    )
    assert best.answer == pytest.approx(1.83509, abs=1e-5)


@pytest.mark.parametrize("name", ["gate-verdict", "release-or-not", "which-pressure"])
def test_judgments_ask_for_more_than_one_answer(name):
    assert len({exercise(name).question(seed).answer for seed in range(30)}) == 3


def test_numbers_may_be_rounded_and_written_as_percent():
    question = ExerciseQuestion(text="?", answer=0.0498, solution="So.")
    assert grade(question, "0.05").right
    assert grade(question, "5%").right
    assert not grade(question, "0.06").right
    for wrong in ("five", "nan", "inf", ""):
        with pytest.raises(DataError):
            grade(question, wrong)


def test_a_choice_that_is_none_and_an_unknown_exercise_are_refused():
    with pytest.raises(DataError, match="release, hold, reject"):
        grade(exercise("release-or-not").question(0), "maybe")
    with pytest.raises(DataError, match="bradley-terry"):
        exercise("nothing")


def test_the_commands_ask_grade_and_explain():
    run = CliRunner().invoke
    assert run(app, ["list"]).output.count("\n") == len(EXERCISES)
    shown = run(app, ["show", "wilson", "--seed", "2"]).output
    assert "plumbline sandbox exercise check wilson --seed 2 --answer NUMBER" in shown
    question = exercise("wilson").question(2)
    right = run(app, ["check", "wilson", "--seed", "2", "--answer", f"{question.answer:.4f}"])
    assert (right.exit_code, right.output.startswith("Right.")) == (0, True)
    share = question.mistakes["report the rate itself"]
    wrong = run(app, ["check", "wilson", "--seed", "2", "--answer", str(share)])
    assert wrong.exit_code == 1
    assert "when you report the rate itself" in " ".join(wrong.output.split())
