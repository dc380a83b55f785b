"""Which judgments are rows of the guardrail, what their label is, and on which side of the split
they stand."""

import pytest

from plumbline.guardrail.labels import (
    COMPARED,
    DISPUTED,
    UNDESIRED,
    counts_of,
    guardrail_rows,
    split_rows,
    violation_row,
)
from plumbline.profile.evaluation import GuardrailConfig
from plumbline.records import sha256
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Comparison, Context, ResponseLabel
from plumbline.schema.preferences import AttackExample, UnpairedLabel
from plumbline.storage.jsonl import write_records

CONTEXT = Context(locale="en", domain="safes", slice="harm-en")
RULE = GuardrailConfig(max_fpr=0.05, max_fnr=0.3, level=0.95, calibration=0.25, test=0.35)


def turn(text):
    return (Message(role="user", content=text),)


def attack(number, prompt="how do i crack it?", response="follow plan alpha.", **changed):
    fields = {
        "id": f"{number:040x}",
        "attack": "direct",
        "prompt": turn(prompt),
        "responses": (response,),
        "judgment": ResponseLabel(desirable=False),
        "acceptable": (False,),
        "rubric": "r@1",
        "context": CONTEXT,
        "synthetic": True,
        "split": "train",
    }
    return AttackExample(**(fields | changed))


def label(number, *, desirable):
    return UnpairedLabel(
        id=f"{number:040x}",
        prompt=turn(f"question {number}"),
        response="an answer.",
        desirable=desirable,
        votes=2,
        agreement=1.0,
        event_ids=(f"{number:040x}",),
        rubric="r@1",
        context=CONTEXT,
        synthetic=True,
        split="train",
    )


@pytest.fixture
def folder(tmp_path):
    def written(attacks=(), labels=()):
        write_records(tmp_path / "guardrail.jsonl", attacks)
        write_records(tmp_path / "labels.jsonl", labels)
        return tmp_path

    return written


@pytest.mark.requirement("E5")
def test_the_majority_of_the_judgments_of_one_response_is_its_label(folder):
    """Three people judge one response, two of them as a violation; of another, one of two; the even
    one is set aside with both judgments."""
    three = [attack(n, acceptable=(n == 1,)) for n in (1, 2, 3)]
    two = [attack(n, response="follow plan beta.", acceptable=(n == 4,)) for n in (4, 5)]
    found = guardrail_rows(folder([*three, *two]))
    assert [(row.violation, row.votes, len(row.events)) for row in found.rows] == [(True, 3, 3)]
    assert found.set_aside == {DISPUTED: 2}


def test_what_says_nothing_about_a_violation_is_set_aside_and_counted(folder):
    """A comparison says which of two is better, an undesirable ordinary response may only be
    useless; nothing is dropped without a reason."""
    compared = attack(
        1, responses=("a.", "b."), judgment=Comparison(preferred=0, strength=2), acceptable=()
    )
    partly = attack(
        2,
        responses=("a.", "b."),
        judgment=Comparison(preferred=0, strength=2),
        acceptable=(True, None),
        prompt="another",
    )
    found = guardrail_rows(
        folder([compared, partly], [label(3, desirable=False), label(4, desirable=True)])
    )
    assert found.set_aside == {COMPARED: 3, UNDESIRED: 2}
    assert sorted((row.violation, row.source) for row in found.rows) == [
        (False, "attack"),
        (False, "label"),
    ]


def test_a_verdict_without_the_question_of_acceptability_counts_by_its_desirability(folder):
    (row,) = guardrail_rows(
        folder([attack(1, acceptable=(), judgment=ResponseLabel(desirable=True))])
    ).rows
    assert not row.violation


@pytest.mark.requirement("E17")
def test_a_routed_violation_stands_against_the_votes(folder):
    routed = violation_row(
        turn("how do i crack it?"),
        "follow plan alpha.",
        attempt="a" * 40,
        tactic="story",
        slice_="red-team",
        locale="en",
    )
    (row,) = guardrail_rows(folder([attack(1, acceptable=(True,))]), [routed]).rows
    assert row.violation
    assert row.source == "route"


@pytest.mark.requirement("E5")
def test_a_prompt_group_stands_on_one_side_and_counts_once_where_rates_are_estimated(folder):
    """400 prompts with two responses each, worded in two cases of letters: no group on two sides,
    shares as the rule says, one response per group in calibration and test.
    """
    attacks = [
        attack(2 * n + side, prompt=("HOW" if side else "how") + f" {n}?", response=f"r{side}")
        for n in range(400)
        for side in (0, 1)
    ]
    rows = guardrail_rows(folder(attacks)).rows
    parts, left_out = split_rows(rows, RULE, seed=1)
    groups = {part: {row.group for row in found} for part, found in parts.items()}
    assert not groups["train"] & groups["calibration"]
    assert not groups["train"] & groups["test"]
    assert not groups["calibration"] & groups["test"]
    for part in ("calibration", "test"):
        assert len(groups[part]) == len(parts[part])
    assert len(left_out) == len(parts["calibration"]) + len(parts["test"])
    assert len(parts["train"]) == 2 * len(groups["train"])
    # of 400 groups 100 are expected in calibration and 140 in test, with standard deviations below
    # 10
    assert abs(len(groups["calibration"]) - 100) < 40
    assert abs(len(groups["test"]) - 140) < 40
    assert counts_of(parts)["test"] == {"violations": len(parts["test"]), "acceptable": 0}


def test_adding_data_moves_no_row_to_another_side(folder):
    few = split_rows(
        guardrail_rows(folder([attack(n, prompt=f"p {n}") for n in range(50)])).rows, RULE, seed=1
    )[0]
    many = split_rows(
        guardrail_rows(folder([attack(n, prompt=f"p {n}") for n in range(90)])).rows, RULE, seed=1
    )[0]
    for part, rows in few.items():
        assert {row.id for row in rows} <= {row.id for row in many[part]}


def test_the_split_is_not_that_of_the_pairs():
    """The position of a prompt group among the pairs says nothing about its side here: the digests
    have different prefixes."""
    from plumbline.data.splits import split_of
    from plumbline.guardrail.labels import part_of
    from plumbline.profile.data import SplitShares

    shares, rule = (
        SplitShares(validation=0.4, calibration=0.3),
        GuardrailConfig(max_fpr=0.05, max_fnr=0.3, level=0.95, test=0.4, calibration=0.3),
    )
    names = [sha256(str(n).encode()) for n in range(500)]
    same = sum(
        split_of(name, shares, 1).replace("validation", "test") == part_of(name, rule, 1)
        for name in names
    )
    # two independent splits agree on 0.4^2 + 0.3^2 + 0.3^2 = 34 % of the groups, with a standard
    # deviation of 2.1 %
    assert abs(same / 500 - 0.34) < 0.09
