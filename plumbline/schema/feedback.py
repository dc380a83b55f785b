"""The records that enter training and evaluation: events, demonstrations, pairs and held-out
prompts."""

import itertools
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, Field, StringConstraints, model_validator

from plumbline.records import Record
from plumbline.schema.conversations import Message, Response
from plumbline.schema.identifiers import Identifier, Text, content_id

Strength = Literal[0, 1, 2, 3]
"""How much better the preferred response is: 0 negligible, 1 slightly, 2 better, 3
significantly."""


class Consent(Record):
    """What somebody allowed, under which version of the consent text, and until when."""

    scope: Literal["training", "evaluation"]
    version: Text
    given_by: Identifier | None = Field(
        default=None, description="pseudonym of who gave it; null: the annotator"
    )
    expires: AwareDatetime | None = Field(
        default=None,
        description="the item may not be used from this time on; null: no end was agreed",
    )


class Provenance(Record):
    """Who wrote, filtered and approved the item (pseudonyms or team names)."""

    written_by: Text
    filtered_by: Text
    approved_by: Text


class Context(Record):
    """Where the judgment holds: goodness is contextual."""

    locale: Text = Field(description="BCP 47 tag, for example `en` or `es`; `und` when unknown")
    domain: Text
    slice: Identifier = Field(
        description="the evaluation slice this item belongs to, or `unsliced`"
    )


class Comparison(Record):
    """Which of two responses is better, and by how much."""

    kind: Literal["comparison"] = "comparison"
    preferred: Literal[0, 1] | None = Field(
        description="index of the better response; null is a tie"
    )
    strength: Strength


class Ranking(Record):
    """An order of all responses, the best first; responses that tie share a place."""

    kind: Literal["ranking"] = "ranking"
    order: tuple[tuple[int, ...], ...] = Field(
        min_length=1, description="indices of the responses by place, for example [[2], [0, 1]]"
    )


class ResponseLabel(Record):
    """Whether the one response is desirable: an unpaired label."""

    kind: Literal["verdict"] = "verdict"
    desirable: bool


Judgment = Annotated[Comparison | Ranking | ResponseLabel, Field(discriminator="kind")]

Dimension = Literal["safe", "helpful", "correct", "creative", "polite", "affirming"]
"""What makes a response good, rated one by one."""


class Rating(Record):
    """How good one response is in one dimension."""

    response: int = Field(ge=0, description="index of the response")
    dimension: Dimension
    score: Literal[1, 2, 3, 4, 5]


class FeedbackEvent(Record):
    """One judgment of one or more responses to one prompt; its id is derived from its content.

    A comparison judges two responses, a ranking two or more, a verdict one.
    """

    id: Identifier
    prompt: tuple[Message, ...] = Field(min_length=1)
    responses: tuple[Response, ...] = Field(min_length=1, max_length=16)
    judgment: Judgment
    ratings: tuple[Rating, ...] = Field(
        default=(), description="at most one for each response and dimension"
    )
    acceptable: tuple[bool | None, ...] = Field(
        default=(),
        description="whether each response is acceptable by itself; empty when nobody asked",
    )
    clause: Identifier | None = Field(
        default=None,
        description="the clause of the rubric that decided, where the annotator named one",
    )
    reason: str | None = Field(default=None, description="why, in the annotator's words")
    attack: Identifier | None = Field(
        default=None,
        description=(
            "tactic of a prompt that was written to break the policy; null: an ordinary prompt"
        ),
    )
    redacted_from: Identifier | None = Field(
        default=None, description="id of the event whose text this one replaces after redaction"
    )
    annotator: Identifier
    provenance: Provenance
    consent: Consent
    rubric: Text = Field(
        description=(
            "version of the rubric under which the judgment was made, for example"
            " `helpful-harmless@1`"
        )
    )
    context: Context
    synthetic: bool = Field(description="true when no human made the judgment")
    time: AwareDatetime

    @model_validator(mode="after")
    def _id_is_content(self) -> Self:
        expected = content_id(self.model_dump(mode="json", exclude={"id"}))
        if self.id != expected:
            raise ValueError(f"id {self.id} is not the digest of the content, which is {expected}")
        return self

    @model_validator(mode="after")
    def _judges_its_responses(self) -> Self:
        count = len(self.responses)
        if isinstance(self.judgment, Comparison) and count != 2:
            raise ValueError(f"a comparison judges 2 responses, here are {count}")
        if isinstance(self.judgment, ResponseLabel) and count != 1:
            raise ValueError(f"a verdict judges 1 response, here are {count}")
        if isinstance(self.judgment, Ranking) and (
            count < 2 or sorted(itertools.chain(*self.judgment.order)) != list(range(count))
        ):
            raise ValueError(
                f"a ranking places each of 2 or more responses once; {self.judgment.order} does not"
                f" place 0 to {count - 1}"
            )
        rated = [(rating.response, rating.dimension) for rating in self.ratings]
        if len(set(rated)) != len(rated) or any(response >= count for response, _ in rated):
            raise ValueError(
                f"ratings must name each of {count} responses at most once in a dimension: {rated}"
            )
        if self.acceptable and len(self.acceptable) != count:
            raise ValueError(f"acceptable has {len(self.acceptable)} entries for {count} responses")
        return self

    @property
    def winner(self) -> str | None:
        """Text of the better of two compared responses; None for a tie and for every other kind of
        judgment."""
        if not isinstance(self.judgment, Comparison) or self.judgment.preferred is None:
            return None
        return self.responses[self.judgment.preferred].text

    @classmethod
    def create(cls, **fields: object) -> "FeedbackEvent":
        """Build an event and derive its id from the other fields."""
        draft = cls.model_construct(id="", **fields)  # type: ignore[arg-type]  # model_validate checks them below
        return cls.model_validate(
            {"id": content_id(draft.model_dump(mode="json", exclude={"id"})), **fields}
        )


class QuarantinedEvent(Record):
    """An event that may not enter training, with every reason: one row of quarantined.jsonl."""

    id: Identifier
    reasons: tuple[str, ...] = Field(min_length=1)


WithdrawalKind = Literal["person", "event", "consent"]
_Name = Annotated[str, StringConstraints(strip_whitespace=True, min_length=1, max_length=256)]


class Withdrawal(Record):
    """That one person's, one event's or one consent text's permission ended."""

    id: int = Field(gt=0, description="number of the withdrawal in its feedback store")
    kind: WithdrawalKind
    subject: _Name = Field(
        description="pseudonym of a person, id of an event, or version of a consent text"
    )
    by: _Name = Field(description="who recorded it")
    reason: Annotated[str, StringConstraints(strip_whitespace=True, min_length=1)]
    withdrawn_at: AwareDatetime
