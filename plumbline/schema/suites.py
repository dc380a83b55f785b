"""Suites: the written expectations that data must meet before a job may train on it."""

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, Text
from plumbline.strict_yaml import load_record

Concern = Annotated[str, StringConstraints(pattern=r"^[a-z0-9_]{1,64}$")]
ExpectationType = Annotated[str, StringConstraints(pattern=r"^expect_[a-z0-9_]+$")]


class Expectation(Record):
    """One expectation of Great Expectations on an audit frame."""

    id: Identifier = Field(description="name in the certificate")
    concern: Concern = Field(
        default="data",
        description="what it is about; the expectations of one concern are one check in the UI",
    )
    type: ExpectationType = Field(
        description="name in Great Expectations, for example `expect_column_values_to_not_be_null`"
    )
    kwargs: dict[str, Any] = Field(
        default_factory=dict, description="arguments of the expectation: the column and its bounds"
    )
    severity: Literal["critical", "warning"] = Field(
        default="critical", description="colour in the UI only: every expectation must pass"
    )
    reason: Text = Field(
        description="what goes wrong in training or evaluation when this does not hold"
    )


class Suite(Record):
    """The expectations on one kind of data; the digest of the suite is part of every
    certificate."""

    name: Identifier
    minimum_rows: int = Field(
        ge=1, description="rows that every expectation has to examine before a pass counts"
    )
    expectations: tuple[Expectation, ...] = Field(min_length=1)

    @property
    def concerns(self) -> dict[str, tuple[Expectation, ...]]:
        """The expectations by concern, in the order of the file."""
        grouped: dict[str, tuple[Expectation, ...]] = {}
        for expectation in self.expectations:
            grouped[expectation.concern] = (*grouped.get(expectation.concern, ()), expectation)
        return grouped

    @model_validator(mode="after")
    def _ids_are_unique(self) -> Self:
        ids = [expectation.id for expectation in self.expectations]
        if len(set(ids)) != len(ids):
            raise ValueError(
                f"expectation ids repeat: {sorted({i for i in ids if ids.count(i) > 1})}"
            )
        return self


def load_suite(path: Path) -> Suite:
    """Read and validate a suite file.

    Raises:
        ConfigError: If the file is not strict YAML or breaks the schema; names file, line and
            field.
    """
    return load_record(path, Suite)
