"""The eval report: estimates of every slice and metric, paired against the reference and the
champion."""

from typing import Final

from pydantic import Field

from plumbline.records import Record
from plumbline.schema.conversations import Decoder
from plumbline.schema.estimates import Estimate
from plumbline.schema.held_out import Policy
from plumbline.schema.identifiers import Identifier
from plumbline.schema.metrics import ScorerName

EVERYTHING: Final = "all"
"""Name of the slice that pools all prompts but variants."""


class WinRate(Record):
    """Wins, ties and losses of the first side, and the rate in which a tie counts as half a win."""

    wins: int = Field(ge=0)
    ties: int = Field(ge=0)
    losses: int = Field(ge=0)
    unscored: int = Field(
        ge=0, description="pairs without a verdict; they are neither ties nor losses"
    )
    rate: Estimate = Field(description="(wins + ties / 2) / pairs, 0 to 1; 0.5 is no difference")
    matched: Estimate | None = Field(
        description="the same among the pairs of like length; null when there are none"
    )
    length_controlled: Estimate | None = Field(
        description=(
            "the rate predicted for responses of equal length; null when it could not be fitted"
        )
    )
    length_effect: Estimate | None = Field(
        description=(
            "log odds of a win for each standard deviation of length difference; null like the one"
            " before"
        )
    )
    why_not: str | None = Field(
        default=None, description="why the regression could not be fitted; null when it could"
    )


class MetricComparison(Record):
    """One metric on one slice."""

    reference: Estimate | None = Field(
        description=(
            "null where the metric does not exist for the reference, or could not be estimated"
        )
    )
    aligned: Estimate
    difference: Estimate | None = Field(
        description="aligned minus reference on the same prompts; null where the reference is"
    )
    champion: Estimate | None = Field(
        default=None,
        description="the released champion; null when there is none, or nothing to estimate from",
    )
    against_champion: Estimate | None = Field(
        default=None,
        description="aligned minus champion on the same prompts; null where the champion is",
    )
    p: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="two-sided p-value of aligned and reference being alike; null when untested",
    )
    p_adjusted: float | None = Field(
        default=None,
        ge=0,
        le=1,
        description="the same, corrected by Holm's method for the slices of this metric",
    )
    test: str | None = Field(default=None, description="how p was found")


class EvalReport(Record):
    """Every metric of both policies on every slice."""

    scorer: ScorerName
    level: float = Field(description="two-sided confidence level of every interval")
    seed: int = Field(
        description=(
            "seed of the profile, from which the bootstrap tests draw; no interval draws anything"
        )
    )
    decoder: Decoder
    samples: str = Field(
        description="digest of the samples as canonical JSONL, in the order in which they came"
    )
    prompts: int = Field(description="held-out prompts; each has one sample of each policy")
    champion: str | None = Field(
        default=None,
        description=(
            "digest of the released champion; null when no policy but this one was released"
        ),
    )
    cluster: str | None = Field(
        default=None,
        description=(
            "fact that names what a prompt is about; null: variants share the cluster of their"
            " prompt"
        ),
    )
    set_aside: dict[str, int] = Field(
        default_factory=dict, description="prompts that are in no estimate, by reason"
    )
    slices: dict[Identifier, dict[Identifier, MetricComparison]] = Field(
        description="slice to metric to comparison, pooled slices included"
    )
    pooled: dict[Identifier, tuple[Identifier, ...]] = Field(
        description="pooled slice to the slices in it"
    )
    labels: dict[Identifier, dict[Policy, dict[str, int]]] = Field(
        description="how often the scorer gave each label, by slice and policy"
    )
    unavailable: dict[Identifier, dict[Identifier, str]] = Field(
        description="metrics that apply to a slice and have no estimate, with the reason"
    )
    correlations: dict[Identifier, dict[Identifier, float | None]] = Field(
        default_factory=dict,
        description=(
            "correlation within clusters that the intervals of a slice use, by yes-or-no metric;"
            " null: each cluster counts as one sample"
        ),
    )
    win_rates: dict[Identifier, dict[Identifier, WinRate]] = Field(
        default_factory=dict,
        description=(
            "aligned against reference, by slice and by the metric that judges which response is"
            " better"
        ),
    )
