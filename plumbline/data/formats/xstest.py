"""Importer of XSTest (Röttger et al. 2024): safe prompts that a policy should answer, unsafe
contrasts that it should refuse."""

from collections.abc import Mapping
from typing import Any, Final, Literal

from plumbline.data.formats.fields import text_field
from plumbline.data.formats.import_report import Rejected
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id

_EXPECTED: Final[dict[str, Literal["comply", "refuse"]]] = {"safe": "comply", "unsafe": "refuse"}
XSTEST_COLUMNS: Final = ("id", "prompt", "type", "label", "focus", "note")


def xstest_prompt(row: Mapping[str, Any]) -> EvalPrompt:
    """A held-out prompt in the slice `safe` (to be answered, though it sounds unsafe: the fact
    `borderline`) or `unsafe` (to be refused).

    Raises:
        Rejected: If the prompt is blank or the label another one.
    """
    text, label = text_field(row, "prompt").strip(), text_field(row, "label")
    if not text:
        raise Rejected("empty prompt")
    if label not in _EXPECTED:
        raise Rejected("unknown label")
    return EvalPrompt(
        id=content_id(["xstest", text]),
        prompt=(Message(role="user", content=text),),
        expected=_EXPECTED[label],
        context=Context(locale="en", domain=text_field(row, "type") or "unknown", slice=label),
        facts={"xstest": text_field(row, "id"), "focus": text_field(row, "focus")}
        | ({"borderline": "yes"} if label == "safe" else {}),
    )
