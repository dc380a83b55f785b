"""Planning: how many held-out samples a gate needs so that a good policy is likely to pass it.

A gate with too few samples does no harm to users, since it stays inconclusive, but it holds every
release. With two-sided intervals of level L and a policy whose true value lies a gap inside the
bound, the interval clears the bound with the given power from

    n = ((z_L * s0 + z_power * s1) / gap)^2

samples on, where s0 and s1 are the standard deviations of one sample at the bound and at the true
value (Fleiss, Levin and Paik 2003, section 4.2, with the variance of the score test at the bound;
equal for means). Clustered samples need as many times more as they are worth less. The formula is
the normal approximation; a gate's own minimum, and the samples below which its method gives no
verdict, come on top.
"""

import math
from collections.abc import Sequence
from statistics import NormalDist
from typing import Final, NamedTuple

from plumbline.profile.release import Gate
from plumbline.release.gates import find_estimate
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.metrics import METRICS

DISCORDANT: Final = 0.1
"""Share of pairs that are taken to differ where no report says so."""


class GatePlan(NamedTuple):
    """What one gate needs."""

    gate: Gate
    assumed: float
    """True value that the plan is made for: what was measured, or what the assumptions say."""
    worth: float
    """Samples that say as much as one independent sample, at least 1."""
    needed: int | None
    """Samples that pass the gate with the given power; None when no number would, since the assumed
    value lies on the bad side."""
    present: int | None
    """Samples of the report; None without one."""


def plan_gates(
    gates: Sequence[Gate],
    confidence_level: float,
    power: float,
    report: EvalReport | None = None,
    *,
    design: float = 1.0,
) -> list[GatePlan | str]:
    """A plan for each gate, or why there is none.

    Args:
        gates: The gates of the profile.
        confidence_level: Two-sided confidence level of the intervals.
        power: Probability with which a policy of the assumed value passes, 0 to 1.
        report: Report whose values, spreads and clusters are taken for true; None assumes a
            proportion halfway between its best value and the bound, and a difference of zero on
            which a tenth of the pairs differ.
        design: Samples that say as much as one independent sample, where no report says so.
    """
    plans: list[GatePlan | str] = []
    for gate in gates:
        estimate = None if report is None else find_estimate(gate, report)[0]
        plans.append(
            _planned(gate, estimate, power)
            if estimate is not None
            else _assumed(gate, confidence_level, power, design)
        )
    return plans


def _planned(gate: Gate, estimate: Estimate, power: float) -> GatePlan:
    """From a measured value and the spread behind its interval."""
    worth = clustered = 1.0 if estimate.effective_n is None else estimate.n / estimate.effective_n
    z = _quantile((1 + estimate.level) / 2)
    if METRICS[gate.metric].kind == "proportion" and gate.compare == "aligned":
        spreads = _binomial(gate.bound), _binomial(estimate.value)
    else:
        # the spread of one sample, clusters included, that gives an interval of this width
        spread = (estimate.high - estimate.low) / 2 / z * math.sqrt(estimate.n)
        spreads, clustered = (spread, spread), 1.0
    needed = _needed(gate, estimate.value, spreads, z, power, clustered)
    return GatePlan(gate, estimate.value, worth, needed, estimate.n)


def _assumed(gate: Gate, confidence_level: float, power: float, design: float) -> GatePlan | str:
    z = _quantile((1 + confidence_level) / 2)
    if METRICS[gate.metric].kind == "mean":
        return (
            f"{gate.id}: the spread of {gate.metric} is not known before an eval report; give one"
            " with --report"
        )
    if gate.compare == "aligned":
        value = gate.bound / 2 if gate.direction == "at_most" else (1 + gate.bound) / 2
        spreads = _binomial(gate.bound), _binomial(value)
    else:
        value, spreads = (
            0.0,
            (math.sqrt(max(DISCORDANT, abs(gate.bound)) - gate.bound**2), math.sqrt(DISCORDANT)),
        )
    return GatePlan(gate, value, design, _needed(gate, value, spreads, z, power, design), None)


def _needed(
    gate: Gate, value: float, spreads: tuple[float, float], z: float, power: float, worth: float
) -> int | None:
    gap = gate.bound - value if gate.direction == "at_most" else value - gate.bound
    if gap <= 0:
        return None
    # Fleiss, Levin and Paik 2003, section 4.2: spread under the bound for the interval, under the
    # assumed value for the power
    at_bound, at_value = spreads
    return max(
        gate.min_n, math.ceil(worth * ((z * at_bound + _quantile(power) * at_value) / gap) ** 2)
    )


def _binomial(rate: float) -> float:
    return math.sqrt(rate * (1 - rate))


def _quantile(share: float) -> float:
    return NormalDist().inv_cdf(share)
