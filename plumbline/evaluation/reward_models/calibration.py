"""Calibration of the reward model: when it says 80 %, is the chosen response the better one in 80 %
of the pairs?

Under the Bradley-Terry model the difference of two rewards is the log odds that the first response
is preferred. A pair is read with the response that has the higher reward first, so that the
**confidence** lies between 0.5 and 1 and the outcome is whether people chose it too. Where both
rewards are equal the confidence is 0.5 and the outcome counts half.

=====  ===========================================================  ==============================
score  what it is                                                   reference
=====  ===========================================================  ==============================
ECE    mean over the bins of |share chosen - mean confidence|,      Naeini, Cooper and Hauskrecht
       weighted by pairs                                            2015
Brier  mean of (confidence - outcome)^2; 0.25 is a coin             Brier 1950
=====  ===========================================================  ==============================

The ECE of a sample is above 0 even when the model is calibrated, because every bin has noise:
`noise` says how far it gets in 95 % of the samples of this size from a calibrated model.
"""

import itertools
from collections.abc import Mapping, Sequence
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field
from scipy.special import expit
from scipy.stats import bootstrap

from plumbline.evaluation.reward_models.accuracy import Rewards
from plumbline.records import Record
from plumbline.schema.estimates import Estimate
from plumbline.statistics.intervals import mean, proportion
from plumbline.statistics.verdicts import estimated

Floats = NDArray[np.float64]

EDGES: Final = (0.5, 0.6, 0.7, 0.8, 0.9, 1.0)
RESAMPLES: Final = 1000
MINIMUM: Final = 20
"""Pairs below which nothing is estimated."""


class Bin(Record):
    """The pairs whose confidence lies in one range."""

    low: float
    high: float
    pairs: int = Field(gt=0)
    confidence: float = Field(description="mean confidence of the model")
    observed: Estimate | None = Field(
        description=(
            "share of the pairs in which people chose the response that the model prefers; null for"
            " a single pair"
        )
    )


class Calibration(Record):
    """How far the confidence of a reward model can be taken at its word."""

    split: Literal["validation"] = "validation"
    pairs: int = Field(gt=0)
    bins: tuple[Bin, ...] = Field(description="bins that hold pairs, in ascending order")
    ece: Estimate = Field(
        description="expected calibration error with a percentile bootstrap interval over pairs"
    )
    noise: float = Field(
        description=(
            "95th percentile of the ECE of a calibrated model on as many pairs with these"
            " confidences"
        )
    )
    brier: Estimate = Field(
        description="Brier score with a percentile bootstrap interval over pairs"
    )
    overconfident: bool = Field(
        description="whether the mean confidence is above the share that people chose"
    )

    @property
    def miscalibrated(self) -> bool:
        """Whether the ECE is larger than noise explains."""
        return self.ece.value > self.noise


def calibration(
    rewards: Mapping[str, Rewards], confidence_level: float, seed: int
) -> Calibration | None:
    """Calibration on validation pairs; None with fewer than 20 of them.

    Args:
        rewards: Rewards of the chosen and of the rejected response by pair.
        confidence_level: Two-sided confidence level.
        seed: Of the bootstrap and of the simulation behind `noise`.
    """
    if len(rewards) < MINIMUM:
        return None
    difference = np.array(
        [rewards[name].chosen - rewards[name].rejected for name in sorted(rewards)]
    )
    confidence = expit(np.abs(difference))
    outcome = np.where(difference == 0, 0.5, (difference > 0).astype(float))
    return Calibration(
        pairs=len(rewards),
        bins=tuple(_bins(confidence, outcome, confidence_level)),
        ece=_bootstrap(_ece, confidence, outcome, confidence_level, seed),
        noise=_noise(confidence, seed),
        brier=_bootstrap(_brier, confidence, outcome, confidence_level, seed),
        overconfident=bool(confidence.mean() > outcome.mean()),
    )


def _place(confidence: Floats) -> NDArray[np.intp]:
    """The bin of each pair; a confidence on an edge belongs to the bin above, and 1 to the last."""
    return np.digitize(confidence, EDGES[1:-1])


def _bins(confidence: Floats, outcome: Floats, confidence_level: float) -> list[Bin]:
    bins = []
    place = _place(confidence)
    for number, (low, high) in enumerate(itertools.pairwise(EDGES)):
        inside = place == number
        if inside.any():
            values: Sequence[float] = outcome[inside].tolist()
            bins.append(
                Bin(
                    low=low,
                    high=high,
                    pairs=len(values),
                    confidence=float(confidence[inside].mean()),
                    observed=_share(values, confidence_level),
                )
            )
    return bins


def _share(values: Sequence[float], confidence_level: float) -> Estimate | None:
    """Wilson's interval where every pair has an outcome; pairs of equal reward count half, for
    which there is only a mean."""
    return estimated(
        lambda: (
            proportion([value == 1 for value in values], confidence_level)
            if set(values) <= {0.0, 1.0}
            else mean(values, confidence_level)
        )
    )


def _ece(confidence: Floats, outcome: Floats, axis: int = -1) -> Any:
    """ECE along the last axis; leading axes are samples."""
    place = _place(confidence)
    # mean gap of a bin times its share of the pairs is its summed gap over all pairs
    gaps = [
        np.abs(np.where(place == number, outcome - confidence, 0.0).sum(axis=axis))
        for number in range(len(EDGES) - 1)
    ]
    return sum(gaps) / confidence.shape[axis]


def _brier(confidence: Floats, outcome: Floats, axis: int = -1) -> Any:
    return ((confidence - outcome) ** 2).mean(axis=axis)


def _bootstrap(
    statistic: Any, confidence: Floats, outcome: Floats, confidence_level: float, seed: int
) -> Estimate:
    interval = bootstrap(
        (confidence, outcome),
        statistic,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        confidence_level=confidence_level,
        method="percentile",
        random_state=np.random.default_rng(seed),
    ).confidence_interval
    value = float(statistic(confidence, outcome))
    # resampling adds noise to every bin, so that the interval of an ECE near 0 can lie above it
    low, high = min(float(interval.low), value), max(float(interval.high), value)
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=confidence_level,
        n=len(outcome),
        unscored=0,
        method="percentile bootstrap over pairs",
        seed=seed,
    )


def _noise(confidence: Floats, seed: int) -> float:
    # RESAMPLES x pairs outcomes, each right as often as the model says
    drawn = np.random.default_rng(seed).random((RESAMPLES, len(confidence))) < confidence
    return float(
        np.quantile(_ece(np.broadcast_to(confidence, drawn.shape), drawn.astype(float)), 0.95)
    )
