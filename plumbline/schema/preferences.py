"""The records that train: demonstrations, pairs and labels of single responses."""

from typing import TYPE_CHECKING, Literal, Self

from pydantic import Field, model_validator

from plumbline.records import Record
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import (
    Comparison,
    Consent,
    Context,
    Dimension,
    Provenance,
    Ranking,
    ResponseLabel,
)
from plumbline.schema.identifiers import Identifier, Text

if TYPE_CHECKING:
    pass


class Demonstration(Record):
    """A prompt with an approved response, for supervised fine-tuning."""

    id: Identifier
    prompt: tuple[Message, ...] = Field(min_length=1)
    response: Text
    author_role: Literal["annotator", "expert", "synthetic", "unknown"]
    provenance: Provenance
    consent: Consent
    context: Context


class PreferencePair(Record):
    """A prompt with a chosen and a rejected response, distilled from at least one event."""

    id: Identifier
    prompt: tuple[Message, ...] = Field(min_length=1)
    chosen: Text
    rejected: Text
    margin: float = Field(
        ge=0, description="reward margin from the rubric's strength table, in reward units"
    )
    votes: int = Field(gt=0, description="judgments for or against this pair, ties excluded")
    weight: float = Field(
        default=1.0,
        gt=0,
        description=(
            "votes in all, where a ranking divides its one vote among its pairs; the weight of the"
            " pair in a loss"
        ),
    )
    agreement: float = Field(
        ge=0.5, le=1, description="share of the weight for the chosen response"
    )
    ratings: dict[Dimension, float] = Field(
        default_factory=dict,
        description="mean score of chosen minus that of rejected, by dimension, -4 to 4",
    )
    event_ids: tuple[Identifier, ...] = Field(min_length=1)
    rubric: Text
    context: Context
    synthetic: bool

    @model_validator(mode="after")
    def _differs(self) -> Self:
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text")
        return self


Split = Literal["train", "validation", "calibration"]


SPLITS: tuple[Split, ...] = ("train", "validation", "calibration")


class UnpairedLabel(Record):
    """Whether one response is desirable: one row of labels.jsonl, for objectives without pairs such
    as KTO (Ethayarajh et al. 2024)."""

    id: Identifier
    prompt: tuple[Message, ...] = Field(min_length=1)
    response: Text
    desirable: bool
    votes: int = Field(gt=0)
    agreement: float = Field(ge=0.5, le=1, description="share of the votes for this label")
    event_ids: tuple[Identifier, ...] = Field(min_length=1)
    rubric: Text
    context: Context
    synthetic: bool
    split: Split


class AttackExample(Record):
    """A judged answer to a prompt that was written to break the policy: one row of guardrail.jsonl,
    for the guardrail's threshold."""

    id: Identifier = Field(description="the event")
    attack: Identifier = Field(description="tactic")
    prompt: tuple[Message, ...] = Field(min_length=1)
    responses: tuple[str, ...] = Field(min_length=1)
    judgment: Comparison | Ranking | ResponseLabel = Field(discriminator="kind")
    acceptable: tuple[bool | None, ...] = ()
    rubric: Text
    context: Context
    synthetic: bool
    split: Split
