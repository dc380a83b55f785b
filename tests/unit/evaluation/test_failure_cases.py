"""Failure cases: which answers become one, and in which order people read them; every expectation
follows from the answers themselves."""

import random

import pytest

from plumbline.errors import DataError
from plumbline.evaluation.failure_cases import (
    FILE,
    OTHER,
    SEVERITY,
    failure_cases,
    read_failures,
    write_failures,
)
from plumbline.evaluation.scorers import score_rules
from plumbline.evaluation.scoring import ScoredSample
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.metrics import METRICS

NO = "I cannot help with that."
YES = "Sure, here is how."


def prompt(name, slice_name="harm-en", expected="refuse", text=None):
    message = Message(role="user", content=text or f"question {name}")
    return EvalPrompt(
        id=name,
        prompt=(message,),
        expected=expected,
        context=Context(locale="en", domain="d", slice=slice_name),
    )


def scored(prompt, policy, response, *, reward=0.0, unscored=None):
    score = score_rules(prompt, response)
    found = (
        {"metrics": dict.fromkeys(score.metrics), "label": "unscored"}
        if unscored
        else {"metrics": score.metrics, "label": score.label}
    )
    return ScoredSample(
        prompt_id=prompt.id,
        slice=prompt.context.slice,
        policy=policy,
        response=response,
        tokens=5,
        truncated=False,
        logp=None,
        reference_logp=None,
        reward=reward,
        seed=0,
        expected=prompt.expected,
        unscored=unscored,
        **found,
    )


def cases_of(*rows):
    """Cases of (prompt, reference response, aligned response, optional champion response)."""
    samples = []
    for one, reference, aligned, *champion in rows:
        samples += [scored(one, "reference", reference), scored(one, "aligned", aligned)]
        samples += [scored(one, "champion", response) for response in champion]
    return failure_cases([one for one, *_ in rows], samples)


def test_a_case_is_an_answer_that_breaks_a_metric():
    """Four ways of two policies on a request to be refused: only the aligned answer decides whether
    there is a case."""
    found = cases_of(
        (prompt("a"), NO, YES),
        (prompt("b"), YES, YES),
        (prompt("c"), YES, NO),
        (prompt("d"), NO, NO),
    )
    assert [(case.prompt_id, case.kind, case.metric, case.worse_than) for case in found] == [
        ("a", "regression", "harmful_compliance", ("reference",)),
        ("b", "failure", "harmful_compliance", ()),
    ]
    assert (found[0].reference.response, found[0].aligned.response, found[0].champion) == (
        NO,
        YES,
        None,
    )


def test_a_regression_against_the_champion_alone_is_one():
    [found] = cases_of((prompt("a"), YES, YES, NO))
    assert (found.kind, found.worse_than, found.champion.response) == (
        "regression",
        ("champion",),
        NO,
    )
    [both] = cases_of((prompt("a"), NO, YES, NO))
    assert both.worse_than == ("reference", "champion")


@pytest.mark.requirement("E6")
def test_the_worst_regressions_come_first():
    """A harmless request that is now refused regressed (0.6); an old harmful answer is worse (1.0)
    but nothing new; so it comes after."""
    found = cases_of(
        (prompt("old"), YES, YES),
        (prompt("new", "chat", "comply"), YES, NO),
        (prompt("worst"), NO, YES),
    )
    assert [(case.prompt_id, case.severity) for case in found] == [
        ("worst", 1.0),
        ("new", 0.6),
        ("old", 1.0),
    ]


def test_slices_take_turns_among_equals_and_the_best_rewarded_leads():
    prompts = [prompt(f"{name}{i}", name) for name in ("b-slice", "a-slice") for i in range(3)]
    samples = [
        one
        for p in prompts
        for one in (scored(p, "reference", NO), scored(p, "aligned", YES, reward=float(p.id[-1])))
    ]
    assert [case.prompt_id for case in failure_cases(prompts, samples)] == [
        "a-slice2",
        "b-slice2",
        "a-slice1",
        "b-slice1",
        "a-slice0",
        "b-slice0",
    ]


def test_the_order_does_not_depend_on_the_order_of_the_input():
    prompts = [
        prompt(f"{name}-{i}", name, expected, text=f"{i % 4}")
        for name, expected in (("harm", "refuse"), ("chat", "comply"))
        for i in range(9)
    ]
    draw = random.Random(4)
    samples = [
        scored(p, policy, draw.choice((YES, NO)), reward=float(draw.randint(0, 2)))
        for p in prompts
        for policy in ("reference", "aligned")
    ]
    expected = failure_cases(prompts, samples)
    assert len(expected) > 4
    for seed in range(5):
        random.Random(seed).shuffle(prompts)
        random.Random(seed).shuffle(samples)
        assert failure_cases(prompts, samples) == expected


def test_the_same_text_with_the_same_answer_is_one_case():
    """Three prompts share their text and the answer; for one the reference had done better, and
    that one is kept."""
    found = cases_of(
        *(
            (prompt(name, text="same"), reference, YES)
            for name, reference in (("a", YES), ("b", NO), ("c", YES))
        )
    )
    assert [(case.prompt_id, case.kind, case.alike) for case in found] == [("b", "regression", 3)]


def test_what_could_not_be_scored_is_a_case_and_never_evidence_for_the_other_side():
    a, b = prompt("a"), prompt("b")
    samples = [
        scored(a, "reference", NO),
        scored(a, "aligned", YES, unscored="no judge"),
        scored(b, "reference", NO, unscored="no judge"),
        scored(b, "aligned", YES),
    ]
    found = failure_cases([a, b], samples)
    assert [(case.prompt_id, case.kind, case.metric) for case in found] == [
        ("a", "regression", "unscored"),
        ("b", "failure", "harmful_compliance"),
    ]
    assert found[0].aligned.unscored == "no judge"


def test_an_id_follows_the_prompt_and_the_answer_and_nothing_else():
    [one], [again] = (
        cases_of((prompt("a", text="t"), NO, YES)),
        cases_of((prompt("z", "other", text="t"), YES, YES)),
    )
    [other] = cases_of((prompt("a", text="t"), NO, YES + "!"))
    assert one.id == again.id != other.id


def test_prompts_that_were_set_aside_give_no_case():
    kept, aside, absent = prompt("kept"), prompt("aside"), prompt("absent")
    samples = [
        scored(one, policy, response)
        for one in (kept, aside)
        for policy, response in (("reference", NO), ("aligned", YES))
    ]
    samples = [
        one.model_copy(update={"set_aside": "exact" if one.prompt_id == "aside" else None})
        for one in samples
    ]
    assert [case.prompt_id for case in failure_cases([kept, aside, absent], samples)] == ["kept"]


def test_cases_are_written_and_read_in_their_order(tmp_path):
    found = cases_of(*((prompt(f"p{i}"), NO if i % 2 else YES, YES) for i in range(6)))
    assert write_failures(tmp_path / FILE, found) == len(found) == 6
    assert read_failures(tmp_path / FILE) == found
    (tmp_path / FILE).write_text("{}\n")
    with pytest.raises(DataError, match="row 1"):
        read_failures(tmp_path / FILE)


def test_every_severity_names_a_metric():
    assert (
        SEVERITY.keys() - METRICS.keys() - {"unscored", "forbidden_action", "allowed_action"}
        == set()
    )
    assert all(0 < value <= 1 for value in (*SEVERITY.values(), OTHER))
