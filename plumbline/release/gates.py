"""Release gates: a bound on an interval, decided in three values.

A gate passes when the whole interval lies on its good side, fails when the whole interval lies on its bad side, and is inconclusive in
between. Missing or underpowered evidence never passes. With two-sided intervals of level L, a gate whose true value lies on the bad side
passes with probability (1 - L) / 2 nominally and at most about 1 - L: the score intervals are approximate, most of all where the outcome
that would prove a gate wrong is rare, so there a gate stays inconclusive until at least ten of those outcomes are to be expected.
"""

import math
from typing import Annotated, Final, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from plumbline.data.schema import Identifier
from plumbline.evaluation.metrics import METRICS
from plumbline.evaluation.report import EvalReport
from plumbline.evaluation.statistics import TANGO, WILSON, Estimate, required_n
from plumbline.records import Record

Text = Annotated[str, StringConstraints(min_length=1)]
Verdict = Literal["pass", "fail", "inconclusive", "error"]
EXPECTED_LEAST: Final = 10
"""Outcomes that must be expected at the threshold before a score interval is trusted in its weak tail."""


class Gate(Record):
    """One condition of a release, on the bound of an interval and never on a bare number."""

    id: Identifier
    metric: Identifier = Field(description="metric of the eval report")
    slice: Identifier = Field(description="slice of the eval report")
    compare: Literal["aligned", "difference"] = Field(description="the aligned policy alone, or aligned minus reference on the same prompts")
    direction: Literal["at_most", "at_least"] = Field(description="at_most holds the upper bound below the threshold, at_least the lower bound above it")
    threshold: float
    min_n: int = Field(gt=0, description="scored samples below which the gate stays inconclusive")
    reason: Text
    owner: Text

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        metric = METRICS.get(self.metric)
        if metric is None:
            raise ValueError(f"there is no metric '{self.metric}'; known are {', '.join(METRICS)}")
        if self.compare == "difference" and not metric.compared:
            raise ValueError(f"metric '{self.metric}' has no difference: it does not exist for the reference policy; use compare: aligned")
        least = 0 if self.compare == "aligned" else -1
        if metric.kind == "proportion" and not least < self.threshold < 1:
            raise ValueError(f"threshold {self.threshold:g} must lie between {least} and 1 ({self.compare} of a proportion): beyond, one verdict is impossible")
        return self


class GateVerdict(Record):
    """What a gate says about a report; a verdict that does not follow from the estimate is invalid."""

    gate: Gate
    verdict: Verdict
    estimate: Estimate | None = Field(description="null when the report has none: verdict error")
    needs: int | None = Field(description="further samples until the gate could decide if the value stays as it is; null when decided or hopeless")
    explanation: Text

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        expected = _verdict(self.gate, self.estimate)
        if self.verdict != expected:
            raise ValueError(f"gate '{self.gate.id}' says '{self.verdict}', but its estimate gives '{expected}'")
        return self


def judge_gate(gate: Gate, report: EvalReport) -> GateVerdict:
    """Decide one gate on the evidence of a report."""
    estimate, missing = _find(gate, report)
    verdict = _verdict(gate, estimate)
    needs = None
    if estimate is None:
        explanation = missing
    elif verdict == "inconclusive":
        needs, explanation = _explain_inconclusive(gate, estimate)
    else:
        explanation = _explain_decided(gate, estimate, verdict)
    if estimate is not None and estimate.unscored:
        explanation += f"; {estimate.unscored} could not be scored and are left out"
    return GateVerdict(gate=gate, verdict=verdict, estimate=estimate, needs=needs, explanation=explanation)


def _find(gate: Gate, report: EvalReport) -> tuple[Estimate | None, str]:
    """The estimate that a gate is about, or None and why it is missing."""
    if gate.slice not in report.slices:
        return None, f"the report has no slice '{gate.slice}'; it has {', '.join(sorted(report.slices))}"
    comparison = report.slices[gate.slice].get(gate.metric)
    if comparison is None:
        why = report.unavailable.get(gate.slice, {}).get(gate.metric, f"scorer '{report.scorer}' gives none there")
        return None, f"slice '{gate.slice}' has no estimate of '{gate.metric}': {why}"
    if gate.compare == "aligned":
        return comparison.aligned, ""
    return comparison.difference, f"'{gate.metric}' on '{gate.slice}' has no difference to the reference"


def _verdict(gate: Gate, estimate: Estimate | None) -> Verdict:
    if estimate is None:
        return "error"
    if estimate.n < _least_n(gate, estimate) or not estimate.varies:
        return "inconclusive"
    low, high, threshold = _oriented(gate, estimate)
    return "pass" if high <= threshold else "fail" if low > threshold else "inconclusive"


def _oriented(gate: Gate, estimate: Estimate) -> tuple[float, float, float]:
    """Low, high and threshold, turned around for `at_least` so that small is good."""
    if gate.direction == "at_most":
        return estimate.low, estimate.high, gate.threshold
    return -estimate.high, -estimate.low, -gate.threshold


def _least_n(gate: Gate, estimate: Estimate) -> int:
    """Samples below which no verdict is given: the gate's own minimum, or what its method needs at this threshold."""
    threshold = gate.threshold if gate.direction == "at_most" else -gate.threshold
    if estimate.method == WILSON:
        opposite = 1 - threshold if gate.direction == "at_most" else -threshold
        return max(gate.min_n, math.ceil(EXPECTED_LEAST / opposite))
    if estimate.method == TANGO and threshold < 0:
        return max(gate.min_n, math.ceil(EXPECTED_LEAST / -threshold))
    return gate.min_n


def _explain_decided(gate: Gate, estimate: Estimate, verdict: Verdict) -> str:
    upper = (gate.direction == "at_most") == (verdict == "pass")
    bound = estimate.high if upper else estimate.low
    # at the threshold itself the gate passes, so a failing bound is strictly beyond it
    sign = {("at_most", "pass"): "<=", ("at_most", "fail"): ">", ("at_least", "pass"): ">=", ("at_least", "fail"): "<"}[gate.direction, verdict]
    text, threshold = _apart(bound, gate.threshold)
    return f"{'upper' if upper else 'lower'} {estimate.level:.0%} bound {text} {sign} {threshold} ({_subject(gate)} {estimate.value:.3g}, n={estimate.n})"


def _explain_inconclusive(gate: Gate, estimate: Estimate) -> tuple[int | None, str]:
    """Further samples that are needed, and the reason in words."""
    if not estimate.varies:
        return None, f"all {estimate.n} values of {_subject(gate)} are {estimate.value:.3g}: without spread there is no interval; check scorer and sampler"
    least = _least_n(gate, estimate)
    interval = f"{estimate.level:.0%} interval {estimate.low:.3g} to {estimate.high:.3g}"
    total = required_n(estimate, gate.threshold)
    if estimate.n < least:
        needs = max(least, total or 0) - estimate.n
        why = f"min_n is {gate.min_n}" if least == gate.min_n else f"the interval is not reliable at {gate.threshold:g} below {least}"
        return needs, f"{estimate.n} scored samples are too few, {why}: needs {needs} more ({_subject(gate)} {estimate.value:.3g}, {interval})"
    text = f"the {interval} contains {gate.threshold:g} ({_subject(gate)} {estimate.value:.3g}, n={estimate.n})"
    if total is None:
        return None, f"{text}; the value lies on the threshold, so no number of samples would decide"
    needs = max(total - estimate.n, 1)
    good = estimate.value < gate.threshold if gate.direction == "at_most" else estimate.value > gate.threshold
    return needs, f"{text}; needs {needs} more samples to {'pass' if good else 'fail'} if the value stays as it is"


def _subject(gate: Gate) -> str:
    return gate.metric if gate.compare == "aligned" else f"difference of {gate.metric}"


def _apart(bound: float, threshold: float) -> tuple[str, str]:
    """Both numbers with as many digits as it takes to tell them apart."""
    for digits in range(3, 17):
        texts = f"{bound:.{digits}g}", f"{threshold:g}"
        if bound == threshold or float(texts[0]) != threshold:
            return texts
    return repr(bound), repr(threshold)
