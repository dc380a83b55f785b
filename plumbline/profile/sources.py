"""Where the data of a profile comes from: the sandbox, or files of known formats."""

from typing import Literal, Self

from pydantic import Field, model_validator

from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, RelativePath


class SandboxSource(Record):
    """Data from the synthetic world of `plumbline.sandbox`."""

    kind: Literal["sandbox"]
    demonstrations: int = Field(gt=0, description="demonstrations in all")
    pairs: int = Field(gt=0, description="judgments of pairs in all, over all batches")
    verdicts: int = Field(
        default=0,
        ge=0,
        description=(
            "judgments of single responses, in batches of their own; the guardrail is fitted on"
            " them"
        ),
    )
    demonstration_languages: tuple[float, float] = Field(
        description="shares of (en, es); they sum to 1"
    )
    pair_languages: tuple[float, float] = Field(
        description="shares of (en, es) among the feedback events; they sum to 1"
    )
    annotators: int = Field(gt=1)
    length_bias: float = Field(
        ge=0, description="utility that annotators see in one filler sentence and that is not there"
    )
    flip_rate: float = Field(
        ge=0, lt=0.5, description="share of judgments that are flipped at random"
    )
    prompts_per_slice: int = Field(gt=0, description="held-out prompts in each slice")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        for name in ("demonstration_languages", "pair_languages"):
            if abs(sum(getattr(self, name)) - 1) > 1e-9:
                raise ValueError(f"{name} must sum to 1")
        return self


FileFormat = Literal[
    "jsonl",
    "hh",
    "tulu",
    "sharegpt",
    "trl",
    "kto",
    "argilla",
    "label-studio",
    "alpaca",
    "xstest",
    "redteam",
    "rewardbench",
]
"""How a file of the outside world is written."""


class SourceFile(Record):
    """One file or folder below PLUMBLINE_DATA, and the format it is in."""

    format: FileFormat
    path: RelativePath
    limit: int | None = Field(
        default=None, gt=0, description="rows to take from the start; null takes all"
    )
    suite: Identifier | None = Field(
        default=None,
        description=(
            "suite of the vault that held-out prompts belong to; null: `xstest`, `hh`,"
            " `rewardbench`, or the name of the file"
        ),
    )


class FilesSource(Record):
    """Data from files below the folder that PLUMBLINE_DATA names."""

    kind: Literal["files"]
    feedback: tuple[SourceFile, ...] = Field(min_length=1)
    demonstrations: tuple[SourceFile, ...] = Field(min_length=1)
    held_out: tuple[SourceFile, ...] = Field(min_length=1)
