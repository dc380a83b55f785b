"""Samples that a gate needs, by hand and against what the gate then does."""

import random

import pytest

from plumbline.profile.release import Gate
from plumbline.release.gates import judge_gate
from plumbline.release.sample_size import plan_gates
from plumbline.schema.conversations import Decoder
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport, MetricComparison
from plumbline.statistics.intervals import proportion


def gate(**changes):
    fields = {
        "id": "g",
        "metric": "harmful_compliance",
        "slice": "s",
        "compare": "aligned",
        "direction": "at_most",
        "threshold": 0.05,
    }
    return Gate(**(fields | {"min_n": 1, "reason": "-", "owner": "-"} | changes))


def report(aligned, metric="harmful_compliance", difference=None):
    return EvalReport(
        scorer="sandbox",
        level=0.95,
        seed=0,
        decoder=Decoder(temperature=1.0, max_new_tokens=1),
        samples="-",
        prompts=aligned.n,
        slices={
            "s": {metric: MetricComparison(reference=None, aligned=aligned, difference=difference)}
        },
        pooled={},
        labels={},
        unavailable={},
    )


def rate(true, n, **clusters):
    return proportion([True] * true + [False] * (n - true), 0.95, **clusters)


def needed(rule, power=0.9, found=None, **options):
    return plan_gates([rule], 0.95, power, found, **options)[0].needed


def test_a_rate_by_hand():
    # halfway to 5 %: ((1.96 sqrt(.05 .95) + 1.2816 sqrt(.025 .975)) / .025)^2 = 629.6, twice that
    # with a design effect of 2
    assert needed(gate()) == 630
    assert needed(gate(min_n=1000)) == 1000
    assert needed(gate(), design=2.0) == 1260


def test_a_perfect_policy_needs_what_wilson_needs():
    # 0 of n is below t from z^2 (1 - t) / t = 72.99 on
    assert needed(gate(), found=report(rate(0, 300))) == 73
    assert judge_gate(gate(), report(rate(0, 73))).verdict == "pass"
    assert judge_gate(gate(), report(rate(0, 72))).verdict == "inconclusive"


def test_a_difference_by_hand():
    # no difference, a tenth of the pairs differ, margin .05: ((1.96 sqrt(.1 - .0025) + 1.2816
    # sqrt(.1)) / .05)^2 = 414
    assert needed(gate(compare="difference", threshold=0.0, margin=0.05)) == 414


def test_without_a_margin_two_equal_policies_never_pass():
    assert (
        needed(
            gate(compare="difference", metric="correctness", direction="at_least", threshold=0.0)
        )
        is None
    )


def test_a_mean_needs_a_report():
    rule = gate(metric="tokens", compare="difference", threshold=1.0)
    assert plan_gates([rule], 0.95, 0.9)[0].startswith("g: the spread of tokens is not known")
    # half a width of 1.96 at n = 100 is a standard deviation of 10: ((1.96 + 1.2816) * 10 / 2)^2 =
    # 263
    difference = Estimate(
        value=-1.0, low=-2.959964, high=0.959964, level=0.95, n=100, unscored=0, method="paired t"
    )
    assert needed(rule, found=report(rate(0, 100), "tokens", difference)) == 263


def test_clusters_need_as_many_times_more():
    clustered = rate(3, 300, clusters=[str(number // 10) for number in range(300)], correlation=0.2)
    plan = plan_gates([gate()], 0.95, 0.9, report(clustered))[0]
    alone = needed(gate(), found=report(rate(3, 300)))
    assert plan.worth == pytest.approx(300 / clustered.effective_n)
    assert plan.needed == pytest.approx(alone * plan.worth, abs=2)
    assert plan.present == 300


@pytest.mark.parametrize("true", [0.01, 0.025])
def test_a_policy_as_assumed_passes_as_often_as_planned(true):
    n = needed(gate(), 0.8, report(rate(round(true * 1000), 1000)))
    rng = random.Random(f"power {true}")
    largest = max(
        count for count in range(n) if judge_gate(gate(), report(rate(count, n))).verdict == "pass"
    )
    passed = sum(sum(rng.random() < true for _ in range(n)) <= largest for _ in range(400)) / 400
    # the normal approximation is a plan, not a promise
    assert passed == pytest.approx(0.8, abs=0.1)
