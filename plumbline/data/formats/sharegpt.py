"""Importer of ShareGPT pairs as LLaMA-Factory writes them (Zheng et al. 2024): `conversations` with
`chosen` and `rejected`."""

from collections.abc import Mapping
from typing import Any, Final

from plumbline.data.formats.conversations import Role, as_prompt, pair_event, turns
from plumbline.data.formats.fields import as_object, only_columns, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import FeedbackEvent

_ROLES: Final[dict[str, Role]] = {
    "system": "system",
    "human": "user",
    "user": "user",
    "gpt": "assistant",
    "assistant": "assistant",
}
_COLUMNS = ("id", "system", "conversations", "chosen", "rejected")


def sharegpt_event(value: object, attribution: Attribution) -> FeedbackEvent:
    """A pair of replies to a conversation; the file names no annotator, time or strength.

    Raises:
        Rejected: If the row is no such pair; function calls and their observations are no roles
            here.
    """
    row = as_object(value)
    only_columns(row, _COLUMNS)
    prompt = turns(row.get("conversations"), _ROLES, "from", "value")
    if isinstance(row.get("system"), str) and row["system"].strip():
        if prompt[0].role == "system":
            raise Rejected("two system turns")
        prompt = (Message(role="system", content=row["system"]), *prompt)
    return pair_event(
        "sharegpt", as_prompt(prompt), _reply(row, "chosen"), _reply(row, "rejected"), attribution
    )


def _reply(row: Mapping[str, Any], name: str) -> str:
    reply = row.get(name)
    if not isinstance(reply, dict):
        raise Rejected(f"{name} is missing or not a turn")
    only_columns(reply, ("from", "value"))
    if _ROLES.get(text_field(reply, "from")) != "assistant":
        raise Rejected(f"{name} is not the assistant's")
    return text_field(reply, "value")
