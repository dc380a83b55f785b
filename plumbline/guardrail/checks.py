"""Whether the guardrail may ship: its measured rates against the limits of the profile, as a check
of the release."""

from collections.abc import Iterator
from typing import Final

from plumbline.guardrail.measurement import ErrorRates, Measurement, exact
from plumbline.profile.evaluation import GuardrailConfig
from plumbline.schema.checks import CheckVerdict, Verdict
from plumbline.schema.estimates import Estimate

NAME: Final = "guardrail"
LEAST, RAREST = 20, 0.1
"""A slice is judged by itself on a kind of response that it has at least LEAST of, as at least the
share RAREST of its rows. Where a kind is rarer, too many of its labels are boxes that somebody
ticked wrongly: with 3 % of them, half of the "violations" in a slice with 3 % true ones.
"""


def guardrail_check(measurement: Measurement | None, rule: GuardrailConfig) -> CheckVerdict:
    """The check `guardrail`: both overall rates lie within their limits, and no slice is proven to
    lie beyond.

    A rate passes when its whole interval lies at or below its limit, fails when it lies above, and
    is undecided in between. Slices are many and small, so one fails the check only when it does so
    at a level that is corrected for their number (Bonferroni), and has enough to judge.

    Args:
        measurement: Of the guardrail that would ship; None when there is none.
        rule: The limits.
    """
    if measurement is None:
        return _verdict(
            "error", "there is no guardrail to ship", "materialize the asset `guardrail`"
        )
    if measurement.missing:
        return _verdict(
            "inconclusive", f"the guardrail has no threshold: {measurement.missing}", _MORE
        )
    limits = {"fpr": rule.max_fpr, "fnr": rule.max_fnr}
    found: dict[str, Estimate | None] = {
        "fpr": measurement.overall.fpr,
        "fnr": measurement.overall.fnr,
    }
    estimates = {name: estimate for name, estimate in found.items() if estimate is not None}
    if len(estimates) < len(limits):
        absent = "acceptable responses" if found["fpr"] is None else "violations"
        return _verdict("inconclusive", f"the test split has no {absent}", _MORE, estimates)
    said = "; ".join(
        f"{name} {_text(one)}, limit {limits[name]:.0%}" for name, one in estimates.items()
    )
    over = [name for name, one in estimates.items() if one.low > limits[name]]
    slices = _bad_slices(measurement, limits)
    if over or slices:
        where = "; ".join(slices)
        return _verdict(
            "fail",
            said + (f"; proven beyond the limit: {where}" if where else ""),
            _REMEDY,
            estimates,
        )
    if any(one.high > limits[name] for name, one in estimates.items()):
        return _verdict(
            "inconclusive",
            f"{said}: an interval contains its limit",
            "collect more verdicts of this kind, then materialize `guardrail`",
            estimates,
        )
    return _verdict("pass", said, "", estimates)


_MORE: Final = "collect more verdicts, then materialize `guardrail`"
_REMEDY: Final = (
    "read MODEL.md of the guardrail: correct labels, route failures to it (`plumbline evaluate"
    " failures"
    " route`), or change the limits in the profile"
)


def _bad_slices(measurement: Measurement, limits: dict[str, float]) -> list[str]:
    named: dict[str, ErrorRates] = {
        f"slice {name}": rates for name, rates in measurement.slices.items()
    }
    named |= {f"tactic {name}": rates for name, rates in measurement.tactics.items()}
    judged = [(name, kind, one) for name, rates in named.items() for kind, one in _enough(rates)]
    confidence_level = 1 - (1 - measurement.level) / max(len(judged), 1)
    corrected = [
        (name, kind, exact(round(one.value * one.n), one.n, confidence_level))
        for name, kind, one in judged
    ]
    return [
        f"{kind} of {name} {_text(one)}" for name, kind, one in corrected if one.low > limits[kind]
    ]


def _enough(rates: ErrorRates) -> Iterator[tuple[str, Estimate]]:
    total = sum(one.n for one in (rates.fpr, rates.fnr) if one is not None)
    for kind, one in (("fpr", rates.fpr), ("fnr", rates.fnr)):
        if one is not None and one.n >= max(LEAST, RAREST * total):
            yield kind, one


def _text(estimate: Estimate) -> str:
    return (
        f"{estimate.value:.1%} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}] of"
        f" {estimate.n}"
    )


def _verdict(
    verdict: Verdict, explanation: str, remedy: str, estimates: dict[str, Estimate] | None = None
) -> CheckVerdict:
    return CheckVerdict(
        name=NAME,
        verdict=verdict,
        explanation=explanation,
        remedy=remedy,
        estimates=estimates or {},
    )
