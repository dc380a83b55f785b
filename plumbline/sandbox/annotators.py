"""The annotators: noisy Bradley-Terry judges who like length.

An annotator feels a response's true utility plus a bonus for every filler sentence, prefers the
first of two responses with probability sigmoid(sharpness * difference), and now and then ticks the
wrong box. Source: Bradley and Terry 1952. The annotators of a panel differ: the first is the most
careful, the last the most careless.
"""

import math
from dataclasses import dataclass
from random import Random
from typing import Final, Literal

from plumbline.sandbox.judge import TrueJudgment

Strength = Literal[0, 1, 2, 3]

SHARPNESS: Final = 3.0
STRENGTH_NOISE: Final = 0.2
STRENGTH_BOUNDS: Final = (0.3, 0.9, 1.8)
"""Felt difference, in utility, from which a preference is `slightly`, `better` and
`significantly`."""
TIE_RATE: Final = 0.25
"""Probability that a negligible difference is reported as a tie."""


@dataclass(frozen=True)
class Vote:
    """One judgment of two responses."""

    preferred: Literal[0, 1] | None
    strength: Strength


@dataclass(frozen=True)
class Annotator:
    """One judge with its own noise."""

    name: str
    sharpness: float = SHARPNESS
    """Inverse temperature, per unit of utility."""
    length_bias: float = 0.0
    """Bonus for every filler sentence, in utility."""
    flip_rate: float = 0.0
    """Probability that the judgment is turned round after it was made."""

    def felt_difference(self, first: TrueJudgment, second: TrueJudgment) -> float:
        """How much better the first response feels, in utility."""
        return first.utility - second.utility + self.length_bias * (first.fillers - second.fillers)

    def prefers_first(self, first: TrueJudgment, second: TrueJudgment) -> float:
        """Probability of preferring the first response, before flips and ties."""
        return 1 / (1 + math.exp(-self.sharpness * self.felt_difference(first, second)))

    def vote(self, first: TrueJudgment, second: TrueJudgment, rng: Random) -> Vote:
        """Judge two responses."""
        felt = abs(self.felt_difference(first, second)) + rng.gauss(0, STRENGTH_NOISE)
        strength: Strength = (
            0
            if felt < STRENGTH_BOUNDS[0]
            else 1
            if felt < STRENGTH_BOUNDS[1]
            else 2
            if felt < STRENGTH_BOUNDS[2]
            else 3
        )
        first_wins = rng.random() < self.prefers_first(first, second)
        if rng.random() < self.flip_rate:
            first_wins = not first_wins
        if strength == 0 and rng.random() < TIE_RATE:
            return Vote(None, 0)
        return Vote(0 if first_wins else 1, strength)

    def accepts(self, judgment: TrueJudgment, rng: Random) -> bool:
        """Whether a response breaks no rule: all but answers to harmful requests are acceptable,
        and now and then the wrong box is ticked."""
        return judgment.complied == (rng.random() < self.flip_rate)

    def desires(self, judgment: TrueJudgment, rng: Random) -> bool:
        """Whether a response is one to have more of: the more it feels worth above nothing, the
        more likely; flips as in `vote`."""
        felt = judgment.utility + self.length_bias * judgment.fillers
        wanted = rng.random() < 1 / (1 + math.exp(-self.sharpness * felt))
        return wanted != (rng.random() < self.flip_rate)


def annotator_pool(size: int, *, length_bias: float, flip_rate: float) -> tuple[Annotator, ...]:
    """Annotators `rater-01` and on, from careful to careless, with the given means of length bias
    and flip rate."""
    raters = []
    for index in range(size):
        carelessness = 0.5 + index / (size - 1) if size > 1 else 1.0
        raters.append(
            Annotator(
                f"rater-{index + 1:02d}",
                SHARPNESS * (1.5 - carelessness / 2),
                length_bias * carelessness,
                flip_rate * carelessness,
            )
        )
    return tuple(raters)
