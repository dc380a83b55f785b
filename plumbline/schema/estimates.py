"""An estimate: the only kind of number that reaches a gate."""

from typing import Self

from pydantic import Field, model_validator

from plumbline.records import Record


class Estimate(Record):
    """A value with its interval and sample size: the only kind of number that a gate accepts."""

    value: float
    low: float
    high: float
    level: float = Field(gt=0, lt=1, description="two-sided confidence level of [low, high]")
    n: int = Field(ge=1, description="samples (or pairs) that were scored")
    unscored: int = Field(
        ge=0,
        description=(
            "samples (or pairs) that the metric applies to and that could not be scored; never"
            " counted as zero"
        ),
    )
    method: str = Field(min_length=1)
    seed: int | None = Field(
        default=None, description="seed of the method; null when it draws nothing"
    )
    clusters: int | None = Field(
        default=None,
        ge=1,
        description="clusters that the samples come from; null when every sample stands alone",
    )
    effective_n: float | None = Field(
        default=None,
        gt=0,
        description=(
            "independent samples that say as much, for score intervals of clustered samples; null:"
            " n of them"
        ),
    )

    @model_validator(mode="after")
    def _is_interval(self) -> Self:
        if not self.low <= self.value <= self.high:
            raise ValueError(
                f"value {self.value} must lie in its interval [{self.low}, {self.high}]"
            )
        return self

    @property
    def varies(self) -> bool:
        """Whether the samples showed any spread; without one the interval is a point, which is no
        evidence of precision."""
        return self.low < self.high
