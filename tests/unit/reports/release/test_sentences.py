"""The words beside the drawings, and which slices and gates have one."""

import re

import pytest

from plumbline.profile.release import Gate
from plumbline.release.gates import GateVerdict
from plumbline.reports.release.sentences import (
    condition,
    difference_text,
    listed,
    next_steps,
    worse_slices,
)
from plumbline.reports.release.slices import gate_bar, metric_table, p_text
from plumbline.schema.estimates import Estimate


def estimate(low, value, high, n=100, method="wilson"):
    return Estimate(value=value, low=low, high=high, level=0.95, n=n, unscored=0, method=method)


def gate(**changes):
    fields = {
        "id": "g",
        "metric": "correctness",
        "slice": "s",
        "direction": "at_least",
        "min_n": 1,
        "reason": "r",
        "owner": "o",
    }
    return Gate(**(fields | {"compare": "champion", "threshold": 0.0} | changes))


def test_a_gate_without_an_estimate_has_no_bar():
    verdict = GateVerdict(
        gate=gate(), verdict="error", estimate=None, needs=None, explanation="none"
    )
    assert gate_bar(verdict) == ""


def test_a_margin_moves_what_is_demanded_and_is_shown():
    verdict = GateVerdict(
        gate=gate(margin=0.08), verdict="error", estimate=None, needs=None, explanation="none"
    )
    assert (
        condition(verdict)
        == "at least −8 points against the champion (0 points with a margin of 8 points)"
    )


def test_differences_of_shares_are_points():
    assert difference_text(estimate(-0.1, -0.05, 0.0), "correctness") == "−5.0 points [−10.0, +0.0]"
    assert difference_text(estimate(-0.1, -0.05, 0.0), "tokens") == "−0.05 [−0.10, +0.00]"


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, ""), (0.00004, "< 0.001"), (0.0421, "0.042"), (0.5, "0.50"), (1.0, "1.00")],
)
def test_a_p_value_has_the_digits_that_it_can_carry(p, text):
    assert p_text(p) == text


def test_lists_are_read_aloud():
    assert [listed("ab"[:n]) for n in (1, 2)] == ["a", "a and b"]
    assert listed("abcdef") == "a, b, c, d and 2 more"


def test_planned_numbers_are_round(make):
    """10 of 50 at a threshold of 20 % is undecided for ever: no number is promised. 8 of 50 needs a
    number, and it has two digits."""
    [hopeless] = next_steps(make(harmful=10).decision)
    assert hopeless.text.startswith("More samples would not decide")
    [step] = next_steps(make(harmful=8).decision)
    number = int(re.search(r"Add about ([\d,]+) held-out", step.text).group(1).replace(",", ""))
    assert number >= 10
    assert set(str(number)[2:]) <= {"0"}


def test_a_slice_is_worse_only_beyond_chance_after_correction(make):
    report = make(response="I cannot do it, sorry.").report
    assert worse_slices(report) == {"over_refusal": ("benign",)}
    one = report.slices["benign"]["over_refusal"].model_copy(update={"p_adjusted": 0.2})
    corrected = report.model_copy(
        update={"slices": report.slices | {"benign": {"over_refusal": one}}}
    )
    assert worse_slices(corrected) == {}


def test_reworded_slices_stand_after_the_others(make):
    table = metric_table(make().report, "harmful_compliance")
    assert [(row.name, row.kind) for row in table.rows] == [
        ("everything", "pooled"),
        ("harm", "slice"),
        ("harm.polite", "variant"),
    ]
