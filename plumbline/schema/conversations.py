"""Conversations and the responses to them."""

from typing import Literal

from pydantic import Field

from plumbline.records import Record
from plumbline.schema.identifiers import Text


class Message(Record):
    """One turn of a conversation; the role is an enumeration so that it can never carry template
    text."""

    role: Literal["system", "user", "assistant"]
    content: Text


class Decoder(Record):
    """How a response was sampled."""

    temperature: float = Field(ge=0, description="0 is greedy decoding")
    top_p: float = Field(default=1.0, gt=0, le=1)
    max_new_tokens: int = Field(gt=0)
    seed: int = Field(default=0, ge=0)


class ResponseSource(Record):
    """Who or what produced a response, and how it was formatted and sampled."""

    policy: Text = Field(description="policy version (digest or published name), or `human`")
    chat_template: Text = Field(
        description="digest or name of the chat template; `unknown` when the source does not say"
    )
    role_format: Text = Field(
        description="how roles were written, for example `conversation` or `human-assistant`"
    )
    decoder: Decoder | None = Field(
        description="null when the source does not say, or for human text"
    )


class Response(Record):
    """One candidate response."""

    text: str
    source: ResponseSource
