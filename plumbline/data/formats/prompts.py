"""Importer of plain held-out prompts: rows of {prompt, expected, slice}, as anybody can write
them."""

from typing import Final, Literal

from plumbline.data.formats.conversations import as_prompt, turns, user_prompt
from plumbline.data.formats.fields import as_object, only_columns, text_field
from plumbline.data.formats.import_report import Rejected
from plumbline.data.formats.own import own_record
from plumbline.data.readers.rows import ParsedRow
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id

_EXPECTED: Final[dict[str, Literal["comply", "refuse", "unknown"]]] = {
    "comply": "comply",
    "refuse": "refuse",
    "unknown": "unknown",
}
COLUMNS: Final = ("prompt", "expected", "slice", "locale", "domain", "facts")


def held_out_prompt(row: ParsedRow) -> EvalPrompt:
    """A held-out prompt from our own record, or from a plain row.

    A plain row has `prompt` (text, or turns of {role, content} that end with the user) and
    `expected` (comply, refuse or unknown); `slice`, `locale`, `domain` and `facts` are as in
    `EvalPrompt`, and `unsliced`, `und`, `unknown` and none where they are missing. A row with
    `context` is one of ours.

    Raises:
        Rejected: If it is neither.
    """
    value = as_object(row.value)
    if "context" in value:
        return own_record(row, EvalPrompt)
    only_columns(value, COLUMNS)
    expected = _EXPECTED.get(text_field(value, "expected"))
    if expected is None:
        raise Rejected("expected is not comply, refuse or unknown")
    text = value.get("prompt")
    prompt = (
        as_prompt(turns(text))
        if isinstance(text, list)
        else user_prompt(text_field(value, "prompt"))
    )
    facts = value.get("facts", {})
    if not isinstance(facts, dict) or not all(isinstance(fact, str) for fact in facts.values()):
        raise Rejected("facts is not an object of texts")
    context = Context(
        locale=value.get("locale", "und"),
        domain=value.get("domain", "unknown"),
        slice=value.get("slice", "unsliced"),
    )
    return EvalPrompt(
        id=content_id([message.model_dump() for message in prompt]),
        prompt=prompt,
        expected=expected,
        context=context,
        facts=facts,
    )
