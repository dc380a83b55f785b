"""Margins, and gates against the policy that was released before."""

import math

import pytest
from pydantic import ValidationError

from plumbline.release.gates import GateVerdict, judge_gate
from tests.unit.release.gate_world import CHAMPION, estimate, gate, rate, report


@pytest.mark.parametrize(
    ("direction", "low", "high", "verdict"),
    [
        ("at_most", -0.01, 0.02, "pass"),
        ("at_most", -0.01, math.nextafter(0.02, 1), "inconclusive"),
        ("at_most", math.nextafter(0.02, 1), 0.05, "fail"),
        ("at_least", -0.02, 0.01, "pass"),
        ("at_least", math.nextafter(-0.02, -1), 0.01, "inconclusive"),
        ("at_least", -0.05, math.nextafter(-0.02, -1), "fail"),
    ],
)
def test_a_margin_moves_the_threshold_to_the_lenient_side(direction, low, high, verdict):
    found = judge_gate(
        gate(compare="difference", direction=direction, threshold=0.0, margin=0.02),
        report(estimate(0.4, 0.6), difference=estimate(low, high)),
    )
    assert found.verdict == verdict


def test_a_margin_is_shown():
    rule = gate(
        compare="difference", metric="correctness", direction="at_least", threshold=0.0, margin=0.05
    )
    passed = judge_gate(
        rule, report(estimate(0.4, 0.6), "correctness", difference=estimate(-0.03, 0.01))
    )
    assert (
        passed.explanation
        == "lower 95% bound -0.03 >= -0.05 = 0 - margin 0.05 (difference of correctness -0.01,"
        " n=300)"
    )
    still_open = judge_gate(
        rule, report(estimate(0.4, 0.6), "correctness", difference=estimate(-0.07, 0.01))
    )
    assert "contains -0.05 = 0 - margin 0.05" in still_open.explanation
    assert still_open.needs is not None


def test_the_champion_is_a_comparison_of_its_own():
    rule = gate(compare="champion", threshold=0.0, margin=0.02)
    sides = {"difference": estimate(-0.5, -0.4), "champion": CHAMPION}
    worse = judge_gate(rule, report(rate(0, 300), against_champion=estimate(0.03, 0.05), **sides))
    assert (worse.verdict, worse.no_champion) == ("fail", False)
    assert "difference to the champion of harmful_compliance" in worse.explanation
    assert (
        judge_gate(
            rule, report(rate(0, 300), against_champion=estimate(-0.01, 0.01), **sides)
        ).verdict
        == "pass"
    )


def test_a_gate_against_the_champion_passes_without_evidence_only_when_there_is_none():
    rule = gate(compare="champion", threshold=0.0, margin=0.02)
    nobody = judge_gate(rule, report(rate(0, 300)))
    assert (nobody.verdict, nobody.no_champion, nobody.estimate) == ("pass", True, None)
    assert "no policy was released before" in nobody.explanation
    unsampled = judge_gate(rule, report(rate(0, 300), champion=CHAMPION))
    assert (unsampled.verdict, unsampled.no_champion) == ("error", False)
    assert CHAMPION in unsampled.explanation
    # a gate on what the report does not have is wrong, champion or not
    assert (
        judge_gate(
            gate(compare="champion", slice="gone", threshold=0.0, margin=0.02), report(rate(0, 300))
        ).verdict
        == "error"
    )
    assert (
        judge_gate(
            gate(compare="champion", metric="correctness", threshold=0.0, margin=0.02),
            report(rate(0, 300)),
        ).verdict
        == "error"
    )


@pytest.mark.threat("G1")
def test_a_claim_that_there_is_no_champion_does_not_pass_another_gate():
    with pytest.raises(ValidationError, match="claims that there is no champion"):
        GateVerdict(
            **(dict(judge_gate(gate(), report(None))) | {"verdict": "pass", "no_champion": True})
        )
    compared = judge_gate(
        gate(compare="champion"),
        report(rate(0, 300), champion=CHAMPION, against_champion=estimate(0.06, 0.08)),
    )
    with pytest.raises(ValidationError, match="claims that there is no champion"):
        GateVerdict(**(dict(compared) | {"verdict": "pass", "no_champion": True}))
