"""Length drift: how much longer the aligned policy answers than the reference, and whether the
reward model pays for length."""

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.stats import pearsonr

from plumbline.evaluation.scoring import ScoredSample
from plumbline.records import Record
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.held_out import Policy
from plumbline.schema.identifiers import Identifier


class LengthDrift(Record):
    """Tokens and their pay."""

    tokens: dict[Identifier, Estimate] = Field(
        description="sampled tokens of aligned minus reference on the same prompts, by slice"
    )
    paid: dict[Policy, Estimate] = Field(
        description=(
            "correlation of reward and tokens within the slices, -1 to 1: above 0 the reward model"
            " likes longer responses to like prompts"
        )
    )
    unavailable: dict[Policy, str] = Field(
        description="policies without a correlation, with the reason"
    )


def length_drift(report: EvalReport, scored: Sequence[ScoredSample]) -> LengthDrift:
    """Length drift of a report and of the samples behind it; samples that were set aside are left
    out."""
    tokens = {
        name: difference
        for name, metrics in report.slices.items()
        if "tokens" in metrics and (difference := metrics["tokens"].difference) is not None
    }
    paid: dict[Policy, Estimate] = {}
    unavailable: dict[Policy, str] = {}
    for policy in dict.fromkeys(sample.policy for sample in scored):
        rows = [
            (sample.slice, sample.reward, sample.tokens)
            for sample in scored
            if sample.policy == policy and sample.reward is not None and sample.set_aside is None
        ]
        correlation = _correlation(rows, report.level)
        if isinstance(correlation, str):
            unavailable[policy] = correlation
        else:
            paid[policy] = correlation
    return LengthDrift(tokens=tokens, paid=paid, unavailable=unavailable)


def _correlation(rows: Sequence[tuple[str, float, int]], confidence_level: float) -> Estimate | str:
    """Pearson's correlation of reward and tokens, each less its mean of the slice, with Fisher's
    interval; or why there is none.

    Without the means a slice whose right answers are long and well paid would look like a taste for
    length.
    """
    if len(rows) < 10:
        return f"{len(rows)} responses have a reward; 10 are needed"
    names = np.array([name for name, _, _ in rows])
    rewards, tokens = (
        _centered(np.array([row[i] for row in rows], dtype=float), names) for i in (1, 2)
    )
    if not rewards.any() or not tokens.any():
        return "all responses of a slice have the same reward or the same length"
    result = pearsonr(rewards, tokens)
    interval = result.confidence_interval(confidence_level)
    value = float(result.statistic)
    low, high = min(float(interval.low), value), max(float(interval.high), value)
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=confidence_level,
        n=len(rows),
        unscored=0,
        method="Pearson within slices, Fisher z",
    )


def _centered(values: NDArray[np.float64], names: NDArray[np.str_]) -> NDArray[np.float64]:
    _, place = np.unique(names, return_inverse=True)
    return values - (np.bincount(place, values) / np.bincount(place))[place]
