"""Importer of unpaired labels for KTO (Ethayarajh et al. 2024): a conversation, or prompt and
completion, with true or false."""

from plumbline.data.formats.conversations import as_prompt, turns, user_prompt, verdict_event
from plumbline.data.formats.fields import as_object, only_columns, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.schema.feedback import FeedbackEvent


def kto_event(value: object, attribution: Attribution) -> FeedbackEvent:
    """A verdict on the last reply of a conversation (`messages`, `label`), or on a completion
    (`prompt`, `completion`, `label`).

    Raises:
        Rejected: If the row is neither.
    """
    row = as_object(value)
    if "messages" in row:
        only_columns(row, ("messages", "label"))
        *before, reply = turns(row["messages"])
    else:
        only_columns(row, ("prompt", "completion", "label"))
        if not isinstance(row.get("prompt"), list):
            return verdict_event(
                "kto",
                user_prompt(text_field(row, "prompt")),
                text_field(row, "completion"),
                row.get("label"),
                attribution,
            )
        before = list(turns(row["prompt"]))
        if not isinstance(row.get("completion"), list) or len(row["completion"]) != 1:
            raise Rejected("completion is not one turn")
        reply = turns([{"role": "user", "content": "-"}, *row["completion"]])[-1]
    if reply.role != "assistant":
        raise Rejected("conversation does not end with the assistant")
    return verdict_event("kto", as_prompt(before), reply.content, row.get("label"), attribution)
