"""Held-out prompts."""

from typing import Final, Literal

from pydantic import Field

from plumbline.records import Record
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.identifiers import Identifier


class EvalPrompt(Record):
    """A held-out prompt with what a good policy does on it."""

    id: Identifier
    suite: Identifier = Field(
        default="held-out", description="the suite of the vault that it belongs to"
    )
    prompt: tuple[Message, ...] = Field(min_length=1)
    expected: Literal["comply", "refuse", "unknown"]
    context: Context
    facts: dict[str, str] = Field(
        default_factory=dict,
        description="what the scorer needs to judge a response, for example the sandbox intent",
    )


PROMPTS: Final = "prompts.jsonl"
