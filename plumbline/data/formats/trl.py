"""Importer of TRL's preference format (von Werra et al. 2020): `prompt`, `chosen` and `rejected`,
as text or as conversations."""

import itertools
from collections.abc import Mapping
from typing import Any

from plumbline.data.formats.conversations import as_prompt, pair_event, turns, user_prompt
from plumbline.data.formats.fields import as_object, only_columns, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import FeedbackEvent


def trl_event(value: object, attribution: Attribution) -> FeedbackEvent:
    """A pair in any of TRL's four forms: standard or conversational, with the prompt given or
    contained in both responses.

    An implicit prompt is what both conversations begin with; in text, what both texts begin with up
    to the last white space, where TRL would cut inside a word.

    Raises:
        Rejected: If the row is no such pair, or has a column that a trainer would read beside these
            three.
    """
    row = as_object(value)
    only_columns(row, ("prompt", "chosen", "rejected"))
    if isinstance(row.get("chosen"), list) or isinstance(row.get("prompt"), list):
        prompt, chosen, rejected = _conversational(row)
    else:
        prompt, chosen, rejected = _standard(row)
    return pair_event("trl", prompt, chosen, rejected, attribution)


def _standard(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], str, str]:
    chosen, rejected = text_field(row, "chosen"), text_field(row, "rejected")
    if "prompt" in row:
        return user_prompt(text_field(row, "prompt")), chosen, rejected
    if chosen == rejected:
        raise Rejected("identical responses")
    same = itertools.takewhile(lambda pair: pair[0] == pair[1], zip(chosen, rejected, strict=False))
    shared = "".join(letter for letter, _ in same)
    prompt = shared[: max(shared.rfind(" "), shared.rfind("\n")) + 1].rstrip()
    if not prompt.strip():
        raise Rejected("chosen and rejected share no prompt")
    return user_prompt(prompt), chosen[len(prompt) :].strip(), rejected[len(prompt) :].strip()


def _conversational(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], str, str]:
    if "prompt" in row:
        return as_prompt(turns(row["prompt"])), _reply(row, "chosen"), _reply(row, "rejected")
    chosen, rejected = turns(row.get("chosen")), turns(row.get("rejected"))
    if chosen[:-1] != rejected[:-1]:
        raise Rejected("prompt mismatch")
    if chosen[-1].role != "assistant" or rejected[-1].role != "assistant":
        raise Rejected("conversation does not end with the assistant")
    return as_prompt(chosen[:-1]), chosen[-1].content, rejected[-1].content


def _reply(row: Mapping[str, Any], name: str) -> str:
    value = row.get(name)
    if not isinstance(value, list) or len(value) != 1:
        raise Rejected(f"{name} is not one turn")
    reply = as_object(value[0])
    only_columns(reply, ("role", "content"))
    if text_field(reply, "role") != "assistant":
        raise Rejected(f"{name} is not the assistant's")
    return text_field(reply, "content")
