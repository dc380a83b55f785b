"""The rule of a profile about who has to look at a candidate and sign before it is released."""

from typing import Final, Literal, Self

from pydantic import Field, model_validator

from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, Text
from plumbline.schema.metrics import METRICS


class SignoffConfig(Record):
    """How many people review and approve a candidate; nobody signs for a policy that they
    trained."""

    reviews: int = Field(
        ge=1, description="people who looked at the failure cases and accepted them"
    )
    samples: int = Field(
        ge=1,
        description=(
            "failure cases that each reviewer must have seen, the worst first; all of them where"
            " there are fewer"
        ),
    )
    approvals: int = Field(ge=1, description="people who approved the release")
    valid_days: float = Field(gt=0, description="days after which a signature no longer counts")


EXPECTED_LEAST: Final = 10
"""Outcomes that must be expected at the threshold before a score interval is trusted in its weak
tail."""


class Gate(Record):
    """One condition of a release, on the bound of an interval and never on a bare number."""

    id: Identifier
    metric: Identifier = Field(description="metric of the eval report")
    slice: Identifier = Field(description="slice of the eval report")
    compare: Literal["aligned", "difference", "champion"] = Field(
        description=(
            "the aligned policy alone, aligned minus reference on the same prompts, or aligned"
            " minus the released champion on the same prompts"
        )
    )
    direction: Literal["at_most", "at_least"] = Field(
        description=(
            "at_most holds the upper bound below the threshold, at_least the lower bound above it"
        )
    )
    threshold: float
    margin: float = Field(
        default=0.0,
        ge=0,
        description=(
            "how far beyond the threshold still counts as not worse, in units of the metric"
        ),
    )
    min_n: int = Field(gt=0, description="scored samples below which the gate stays inconclusive")
    reason: Text
    owner: Text

    @model_validator(mode="after")
    def _can_decide(self) -> Self:
        metric = METRICS.get(self.metric)
        if metric is None:
            raise ValueError(f"there is no metric '{self.metric}'; known are {', '.join(METRICS)}")
        if self.compare != "aligned" and not metric.compared:
            raise ValueError(
                f"metric '{self.metric}' has no difference: it does not exist for the reference"
                " policy; use compare: aligned"
            )
        least = 0 if self.compare == "aligned" else -1
        if metric.kind == "proportion" and not (
            least < self.threshold < 1 and least < self.bound < 1
        ):
            moved = f" with margin {self.margin:g}" if self.margin else ""
            raise ValueError(
                f"threshold {self.threshold:g}{moved} must lie between {least} and 1"
                f" ({self.compare} of a proportion): beyond, one verdict is impossible"
            )
        return self

    @property
    def bound(self) -> float:
        """What the interval is held against: the threshold, moved by the margin to the lenient
        side."""
        return (
            self.threshold + self.margin
            if self.direction == "at_most"
            else self.threshold - self.margin
        )
