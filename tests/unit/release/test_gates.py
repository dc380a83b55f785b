"""Gates decide on interval bounds; missing or underpowered evidence never passes."""

import math

import pytest
from pydantic import ValidationError

from plumbline.release.gates import GateVerdict, judge_gate
from plumbline.schema.estimates import Estimate
from plumbline.statistics.intervals import mean, proportion
from tests.unit.release.gate_world import CHAMPION, estimate, gate, rate, report

JUST_OVER = math.nextafter(0.05, 1)
JUST_UNDER = math.nextafter(0.05, 0)


@pytest.mark.parametrize(
    ("direction", "low", "high", "verdict"),
    [
        ("at_most", 0.01, 0.05, "pass"),
        ("at_most", 0.01, JUST_OVER, "inconclusive"),
        ("at_most", 0.05, 0.09, "inconclusive"),
        ("at_most", JUST_OVER, 0.09, "fail"),
        ("at_least", 0.05, 0.09, "pass"),
        ("at_least", JUST_UNDER, 0.09, "inconclusive"),
        ("at_least", 0.01, 0.05, "inconclusive"),
        ("at_least", 0.01, JUST_UNDER, "fail"),
    ],
)
@pytest.mark.parametrize("compare", ["aligned", "difference", "champion"])
def test_the_boundaries(compare, direction, low, high, verdict):
    side = {"aligned": "aligned", "difference": "difference", "champion": "against_champion"}[
        compare
    ]
    sides = {"aligned": estimate(0.4, 0.6), "champion": CHAMPION} | {side: estimate(low, high)}
    found = judge_gate(gate(compare=compare, direction=direction), report(**sides))
    assert found.verdict == verdict
    assert (found.needs is None) == (verdict != "inconclusive")


def test_numbers_in_words():
    passed = judge_gate(gate(), report(rate(3, 300)))
    assert passed.explanation == "upper 95% bound 0.029 <= 0.05 (harmful_compliance 0.01, n=300)"
    failed = judge_gate(gate(), report(rate(60, 300)))
    assert failed.explanation == "lower 95% bound 0.159 > 0.05 (harmful_compliance 0.2, n=300)"
    low = judge_gate(
        gate(metric="correctness", direction="at_least", threshold=0.9),
        report(rate(150, 300), "correctness"),
    )
    assert low.explanation == "upper 95% bound 0.556 < 0.9 (correctness 0.5, n=300)"
    close = judge_gate(gate(), report(estimate(0.0500001, 0.09)))
    assert close.explanation.startswith("lower 95% bound 0.0500001 > 0.05 ")


def test_an_open_gate_says_how_many_samples_it_needs():
    found = judge_gate(gate(), report(rate(9, 300)))
    assert found.verdict == "inconclusive"
    # Wilson excludes t from z^2 t (1 - t) / (p - t)^2 on: 3.8415 * 0.0475 / 0.02^2 = 456.2
    assert found.needs == 157
    assert "contains 0.05" in found.explanation
    assert "needs 157 more samples to pass if the value stays as it is" in found.explanation
    assert "to fail" in judge_gate(gate(), report(rate(18, 300))).explanation


def test_a_value_on_the_threshold_needs_a_number_that_does_not_exist():
    found = judge_gate(gate(), report(rate(15, 300)))
    assert (found.verdict, found.needs) == ("inconclusive", None)
    assert "no number of samples would decide" in found.explanation


@pytest.mark.parametrize(("low", "high"), [(0.0, 0.01), (0.5, 0.6)])
def test_below_min_n_nothing_is_decided(low, high):
    found = judge_gate(gate(), report(estimate(low, high, n=99)))
    assert (found.verdict, found.needs) == ("inconclusive", 1)
    assert "99 scored samples are too few, min_n is 100: needs 1 more" in found.explanation


def test_at_min_n_it_decides():
    assert judge_gate(gate(), report(estimate(0.0, 0.01, n=100))).verdict == "pass"


def test_unscored_samples_do_not_count_toward_min_n_and_are_named():
    found = judge_gate(gate(), report(estimate(0.0, 0.01, n=90, unscored=210)))
    assert found.verdict == "inconclusive"
    assert found.explanation.endswith("210 could not be scored and are left out")


@pytest.mark.parametrize(
    ("changes", "found", "says"),
    [
        ({"slice": "harm-es"}, report(rate(0, 300)), "no slice 'harm-es'; it has harm-en"),
        (
            {"metric": "correctness"},
            report(rate(0, 300)),
            "no estimate of 'correctness': scorer 'sandbox' gives none there",
        ),
        (
            {},
            report(None, unavailable={"harm-en": {"harmful_compliance": "needs at least 1"}}),
            "needs at least 1",
        ),
        ({"compare": "difference"}, report(rate(0, 300)), "no difference to the reference"),
    ],
)
def test_missing_evidence_is_an_error(changes, found, says):
    verdict = judge_gate(gate(**changes), found)
    assert (verdict.verdict, verdict.estimate, verdict.needs) == ("error", None, None)
    assert says in verdict.explanation


def test_values_without_spread_prove_nothing():
    found = judge_gate(
        gate(metric="utility", direction="at_least", threshold=0.5),
        report(mean([1.5] * 300, 0.95), "utility"),
    )
    assert (found.verdict, found.needs) == ("inconclusive", None)
    assert "all 300 values of utility are 1.5" in found.explanation


@pytest.mark.threat("G1")
@pytest.mark.parametrize("compare", ["aligned", "difference", "champion"])
@pytest.mark.parametrize(
    ("evidence", "verdict"),
    [
        ("missing slice", "error"),
        ("missing metric", "error"),
        ("missing side", "error"),
        ("too few", "inconclusive"),
        ("no spread", "inconclusive"),
        ("undecided", "inconclusive"),
        ("bad", "fail"),
        ("good", "pass"),
    ],
)
def test_the_truth_table(compare, evidence, verdict):
    """Nothing but good evidence passes, on whichever side it is looked for."""
    found = {
        "too few": estimate(0.0, 0.01, n=20),
        "no spread": estimate(0.01, 0.01),
        "undecided": estimate(0.04, 0.06),
        "bad": estimate(0.06, 0.08),
        "good": estimate(0.0, 0.01),
    }.get(evidence)
    good = estimate(0.0, 0.01)
    sides = {"difference": good, "against_champion": good} | (
        {}
        if compare == "aligned"
        else {{"champion": "against_champion"}.get(compare, compare): found}
    )
    aligned = found if compare == "aligned" else None if evidence == "missing metric" else good
    changes = {"slice": "gone"} if evidence == "missing slice" else {}
    assert (
        judge_gate(
            gate(compare=compare, **changes), report(aligned, champion=CHAMPION, **sides)
        ).verdict
        == verdict
    )


@pytest.mark.threat("G1")
@pytest.mark.parametrize("number", ["value", "low", "high"])
@pytest.mark.parametrize("broken", [math.nan, math.inf, -math.inf])
def test_a_number_that_is_none_makes_no_estimate_and_no_gate(number, broken):
    with pytest.raises(ValidationError):
        Estimate(
            **(
                {
                    "value": 0.01,
                    "low": 0.0,
                    "high": 0.02,
                    "level": 0.95,
                    "n": 300,
                    "unscored": 0,
                    "method": "t",
                }
                | {number: broken}
            )
        )
    with pytest.raises(ValidationError):
        gate(threshold=broken)
    with pytest.raises(ValidationError):
        gate(margin=broken)


def test_clusters_are_said_and_counted():
    outcomes, names = (
        [number % 100 < 3 for number in range(300)],
        [str(number // 10) for number in range(300)],
    )
    found = judge_gate(gate(), report(proportion(outcomes, 0.95, names, 0.1)))
    assert found.verdict == "inconclusive"
    assert "n=300 in 30 clusters" in found.explanation
    # pair by pair 157 more would do: see above
    assert found.needs > 300


def test_the_weak_tail_counts_effective_samples():
    outcomes, names = (
        [number >= 2 for number in range(300)],
        [str(number // 10) for number in range(300)],
    )
    rule = gate(metric="correctness", direction="at_most", threshold=0.9)
    # ten wrong answers must be expected at the threshold: 100 independent samples, and 30 clusters
    # of one mind are 30
    assert judge_gate(rule, report(proportion(outcomes, 0.95), "correctness")).verdict == "fail"
    clustered = judge_gate(rule, report(proportion(outcomes, 0.95, names, 1.0), "correctness"))
    assert clustered.verdict == "inconclusive"
    assert "not reliable at 0.9" in clustered.explanation


@pytest.mark.parametrize("level", [0.9, 0.95])
@pytest.mark.parametrize("n", [20, 100, 300])
@pytest.mark.parametrize(
    "threshold", [0.01, 0.02, 0.05, 0.1, 0.3, 0.5, 0.8, 0.9, 0.95, 0.99, 0.998]
)
def test_a_bad_policy_passes_at_most_as_often_as_promised(level, n, threshold):
    """Exact, not simulated: the largest count that passes, and how often a policy at the threshold
    stays at or below it."""
    rule = gate(threshold=threshold, min_n=1)
    passing = [
        true
        for true in range(n + 1)
        if judge_gate(rule, report(proportion([True] * true + [False] * (n - true), level))).verdict
        == "pass"
    ]
    false_pass = sum(
        math.comb(n, true) * threshold**true * (1 - threshold) ** (n - true) for true in passing
    )
    assert false_pass <= 1 - level


def test_the_weak_tail_stays_inconclusive():
    # one success in 100 would put Wilson's lower bound above 0.0017, which a policy at 0.0017
    # reaches in 16% of the evals
    found = judge_gate(
        gate(metric="correctness", direction="at_least", threshold=0.0017),
        report(rate(1, 100), "correctness"),
    )
    assert found.verdict == "inconclusive"
    assert "not reliable at 0.0017 below 5883" in found.explanation


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"metric": "harmfulness"}, "no metric 'harmfulness'; known are harmful_compliance"),
        ({"metric": "kl", "compare": "difference", "threshold": 5.0}, "'kl' has no difference"),
        ({"threshold": 1.0}, "must lie between 0 and 1"),
        ({"threshold": 0.0}, "must lie between 0 and 1"),
        ({"threshold": 5.0}, "must lie between 0 and 1"),
        ({"threshold": -1.0, "compare": "difference"}, "must lie between -1 and 1"),
        ({"min_n": 0}, "greater than 0"),
        ({"margin": -0.01}, "greater than or equal to 0"),
        ({"margin": 0.95}, "threshold 0.05 with margin 0.95 must lie between 0 and 1"),
        (
            {"metric": "correctness", "direction": "at_least", "threshold": 0.05, "margin": 0.05},
            "must lie between 0 and 1",
        ),
        ({"metric": "kl", "compare": "champion", "threshold": 5.0}, "'kl' has no difference"),
    ],
)
def test_a_gate_that_could_not_decide_is_invalid(changes, says):
    with pytest.raises(ValidationError, match=says):
        gate(**changes)


def test_a_verdict_that_does_not_follow_cannot_be_built():
    fields = dict(judge_gate(gate(), report(rate(60, 300))))
    with pytest.raises(ValidationError, match="says 'pass', but its estimate gives 'fail'"):
        GateVerdict(**(fields | {"verdict": "pass"}))
    with pytest.raises(ValidationError, match="gives 'error'"):
        GateVerdict(**(fields | {"estimate": None}))
