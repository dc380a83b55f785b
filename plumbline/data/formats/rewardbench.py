"""Importer of RewardBench-style pairs (Lambert et al. 2024): prompts with a better and a worse
response, by subset, on which judges are measured."""

import re
from collections.abc import Mapping
from typing import Any, Final

from pydantic import Field, model_validator

from plumbline.data.formats.conversations import as_prompt, turns, user_prompt
from plumbline.data.formats.fields import as_object, only_columns, text_field
from plumbline.data.formats.import_report import Rejected
from plumbline.records import Record
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import Identifier, Text, content_id

COLUMNS: Final = ("prompt", "chosen", "rejected", "subset", "id", "chosen_model", "rejected_model")
"""What a row may have; the last three are read past."""


class JudgedPair(Record):
    """Two responses of which people know the better one; a judge is right when it prefers that
    one."""

    id: Identifier
    prompt: tuple[Message, ...] = Field(min_length=1)
    chosen: Text = Field(description="the better response")
    rejected: Text = Field(description="the worse response")
    subset: Identifier = Field(
        description="part of the benchmark, for example `refusals-dangerous`"
    )

    @model_validator(mode="after")
    def _differs(self) -> "JudgedPair":
        if self.chosen == self.rejected:
            raise ValueError("chosen and rejected are the same text")
        return self


def rewardbench_pair(value: object) -> JudgedPair:
    """A row {prompt, chosen, rejected, subset} as a pair; the prompt is text or turns that end with
    the user.

    Raises:
        Rejected: If a field is missing or blank, the responses are the same, or there is a column
            beside `COLUMNS`.
    """
    row = as_object(value)
    only_columns(row, COLUMNS)
    prompt, subset = _prompt(row), _subset(row)
    chosen, rejected = text_field(row, "chosen"), text_field(row, "rejected")
    if not chosen.strip() or not rejected.strip():
        raise Rejected("empty response")
    if chosen == rejected:
        raise Rejected("identical responses")
    content = [[message.model_dump() for message in prompt], chosen, rejected]
    return JudgedPair(
        id=content_id(["rewardbench", subset, *content]),
        prompt=prompt,
        chosen=chosen,
        rejected=rejected,
        subset=subset,
    )


def rewardbench_prompt(value: object) -> EvalPrompt:
    """The prompt of a row as a held-out prompt in the slice of its subset; what a good policy does
    on it is not known.

    Raises:
        Rejected: As in `rewardbench_pair`.
    """
    pair = rewardbench_pair(value)
    context = Context(locale="en", domain=pair.subset, slice=pair.subset)
    return EvalPrompt(
        id=content_id([message.model_dump() for message in pair.prompt]),
        prompt=pair.prompt,
        expected="unknown",
        context=context,
    )


def _prompt(row: Mapping[str, Any]) -> tuple[Message, ...]:
    text = row.get("prompt")
    return (
        as_prompt(turns(text)) if isinstance(text, list) else user_prompt(text_field(row, "prompt"))
    )


def _subset(row: Mapping[str, Any]) -> str:
    subset = re.sub(r"[^a-z0-9._-]+", "-", text_field(row, "subset").strip().lower()).strip("-._")[
        :64
    ]
    if not subset:
        raise Rejected("empty subset")
    return subset
