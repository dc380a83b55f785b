"""Release gates: a bound on an interval, decided in three values.

A gate passes when the whole interval lies on its good side, fails when the whole interval lies on
its bad side, and is inconclusive in between. Missing or underpowered evidence never passes. With
two-sided intervals of level L, a gate whose true value lies on the bad side passes with probability
(1 - L) / 2 nominally and at most about 1 - L: the score intervals are approximate, most of all
where the outcome that would prove a gate wrong is rare, so there a gate stays inconclusive until at
least ten of those outcomes are to be expected. For clustered samples both are said of the effective
sample size.

A margin moves the threshold to the lenient side: the gate then says "not worse by more than the
margin" (non-inferiority) and not "not worse at all", which no finite sample of two equal policies
could show. A gate against the champion passes without evidence in one case only: there is no
champion.
"""

import math
from typing import Self

from pydantic import Field, model_validator

from plumbline.profile.release import EXPECTED_LEAST, Gate
from plumbline.records import Record
from plumbline.schema.checks import Verdict
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.identifiers import Text


class GateVerdict(Record):
    """What a gate says about a report; a verdict that does not follow from the estimate is
    invalid."""

    gate: Gate
    verdict: Verdict
    estimate: Estimate | None = Field(description="null when the report has none: verdict error")
    needs: int | None = Field(
        description=(
            "further samples until the gate could decide if the value stays as it is; null when"
            " decided or hopeless"
        )
    )
    no_champion: bool = Field(
        default=False,
        description="true: the gate is about the champion, and the report says that there is none",
    )
    explanation: Text

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        if self.no_champion and (self.gate.compare != "champion" or self.estimate is not None):
            raise ValueError(
                f"gate '{self.gate.id}' claims that there is no champion, but it is not about one,"
                " or compared with one"
            )
        expected = "pass" if self.no_champion else _verdict(self.gate, self.estimate)
        if self.verdict != expected:
            raise ValueError(
                f"gate '{self.gate.id}' says '{self.verdict}', but its estimate gives '{expected}'"
            )
        return self


def judge_gate(gate: Gate, report: EvalReport) -> GateVerdict:
    """Decide one gate on the evidence of a report."""
    estimate, missing = find_estimate(gate, report)
    no_champion = gate.compare == "champion" and report.champion is None and not missing
    verdict: Verdict = "pass" if no_champion else _verdict(gate, estimate)
    needs = None
    if no_champion:
        explanation = (
            f"no policy was released before, so {gate.metric} on '{gate.slice}' has no champion to"
            " be compared with"
        )
    elif estimate is None:
        explanation = missing
    elif verdict == "inconclusive":
        needs, explanation = _explain_inconclusive(gate, estimate)
    else:
        explanation = _explain_decided(gate, estimate, verdict)
    if estimate is not None and estimate.unscored:
        explanation += f"; {estimate.unscored} could not be scored and are left out"
    return GateVerdict(
        gate=gate,
        verdict=verdict,
        estimate=estimate,
        needs=needs,
        no_champion=no_champion,
        explanation=explanation,
    )


def find_estimate(gate: Gate, report: EvalReport) -> tuple[Estimate | None, str]:
    """The estimate that a gate is about, or None and why it is missing; no reason is given where
    only the champion is missing."""
    if gate.slice not in report.slices:
        return (
            None,
            f"the report has no slice '{gate.slice}'; it has {', '.join(sorted(report.slices))}",
        )
    comparison = report.slices[gate.slice].get(gate.metric)
    if comparison is None:
        why = report.unavailable.get(gate.slice, {}).get(
            gate.metric, f"scorer '{report.scorer}' gives none there"
        )
        return None, f"slice '{gate.slice}' has no estimate of '{gate.metric}': {why}"
    if gate.compare == "aligned":
        return comparison.aligned, ""
    if gate.compare == "difference":
        missing = f"'{gate.metric}' on '{gate.slice}' has no difference to the reference"
        return comparison.difference, "" if comparison.difference is not None else missing
    if report.champion is None or comparison.against_champion is not None:
        return comparison.against_champion, ""
    return (
        None,
        (
            f"'{gate.metric}' on '{gate.slice}' has no difference to the champion"
            f" {report.champion}: sample the champion on this vault too"
        ),
    )


def _verdict(gate: Gate, estimate: Estimate | None) -> Verdict:
    if estimate is None:
        return "error"
    if estimate.n < _least_n(gate, estimate) or not estimate.varies:
        return "inconclusive"
    low, high, threshold = _oriented(gate, estimate)
    return "pass" if high <= threshold else "fail" if low > threshold else "inconclusive"


def _oriented(gate: Gate, estimate: Estimate) -> tuple[float, float, float]:
    """Low, high and the gate's bound, turned around for `at_least` so that small is good."""
    if gate.direction == "at_most":
        return estimate.low, estimate.high, gate.bound
    return -estimate.high, -estimate.low, -gate.bound


def _least_n(gate: Gate, estimate: Estimate) -> int:
    """Samples below which no verdict is given: the gate's own minimum, or what its method needs at
    this threshold."""
    from plumbline.statistics.intervals import TANGO, WILSON

    bound = gate.bound if gate.direction == "at_most" else -gate.bound
    worth = 1 if estimate.effective_n is None else estimate.n / estimate.effective_n
    if estimate.method == WILSON:
        opposite = 1 - bound if gate.direction == "at_most" else -bound
        return max(gate.min_n, math.ceil(worth * EXPECTED_LEAST / opposite))
    if estimate.method == TANGO and bound < 0:
        return max(gate.min_n, math.ceil(worth * EXPECTED_LEAST / -bound))
    return gate.min_n


def _explain_decided(gate: Gate, estimate: Estimate, verdict: Verdict) -> str:
    upper = (gate.direction == "at_most") == (verdict == "pass")
    bound = estimate.high if upper else estimate.low
    # at the threshold itself the gate passes, so a failing bound is strictly beyond it
    sign = {
        ("at_most", "pass"): "<=",
        ("at_most", "fail"): ">",
        ("at_least", "pass"): ">=",
        ("at_least", "fail"): "<",
    }[gate.direction, verdict]
    text, threshold = _apart(bound, gate.bound)
    side = "upper" if upper else "lower"
    return (
        f"{side} {estimate.level:.0%} bound {text} {sign} {threshold}{_margin(gate)}"
        f" ({_subject(gate)} {estimate.value:.3g}, {_samples(estimate)})"
    )


def _explain_inconclusive(gate: Gate, estimate: Estimate) -> tuple[int | None, str]:
    """Further samples that are needed, and the reason in words."""
    from plumbline.statistics.intervals import required_n

    if not estimate.varies:
        return (
            None,
            (
                f"all {estimate.n} values of {_subject(gate)} are {estimate.value:.3g}: without"
                " spread there is no interval; check scorer and sampler"
            ),
        )
    least = _least_n(gate, estimate)
    interval = f"{estimate.level:.0%} interval {estimate.low:.3g} to {estimate.high:.3g}"
    total = required_n(estimate, gate.bound)
    if estimate.n < least:
        needs = max(least, total or 0) - estimate.n
        why = (
            f"min_n is {gate.min_n}"
            if least == gate.min_n
            else f"the interval is not reliable at {gate.bound:g} below {least}"
        )
        return (
            needs,
            (
                f"{estimate.n} scored samples are too few, {why}: needs {needs} more"
                f" ({_subject(gate)} {estimate.value:.3g}, {interval})"
            ),
        )
    text = (
        f"the {interval} contains {gate.bound:g}{_margin(gate)} ({_subject(gate)}"
        f" {estimate.value:.3g}, {_samples(estimate)})"
    )
    if total is None:
        return (
            None,
            f"{text}; the value lies on the threshold, so no number of samples would decide",
        )
    needs = max(total - estimate.n, 1)
    good = (
        estimate.value < gate.bound if gate.direction == "at_most" else estimate.value > gate.bound
    )
    return (
        needs,
        (
            f"{text}; needs {needs} more samples to {'pass' if good else 'fail'} if the value stays"
            " as it is"
        ),
    )


def _subject(gate: Gate) -> str:
    against = {
        "aligned": "",
        "difference": "difference of ",
        "champion": "difference to the champion of ",
    }
    return against[gate.compare] + gate.metric


def _margin(gate: Gate) -> str:
    return (
        f" = {gate.threshold:g} {'+' if gate.direction == 'at_most' else '-'} margin"
        f" {gate.margin:g}"
        if gate.margin
        else ""
    )


def _samples(estimate: Estimate) -> str:
    """How many samples, and how many clusters they come from."""
    return (
        f"n={estimate.n}"
        if estimate.clusters is None
        else f"n={estimate.n} in {estimate.clusters} clusters"
    )


def _apart(bound: float, threshold: float) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to tell them apart."""
    for digits in range(3, 17):
        texts = f"{bound:.{digits}g}", f"{threshold:g}"
        if bound == threshold or float(texts[0]) != threshold:
            return texts
    return repr(bound), repr(threshold)
