"""Conversations of public formats as prompts, and pairs and verdicts about them as feedback
events."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final, Literal

from plumbline.data.formats.fields import as_object, only_columns, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.schema.conversations import Message, Response, ResponseSource
from plumbline.schema.feedback import (
    Comparison,
    Consent,
    Context,
    FeedbackEvent,
    Judgment,
    Provenance,
    ResponseLabel,
)

Role = Literal["system", "user", "assistant"]
ROLES: Final[dict[str, Role]] = {"system": "system", "user": "user", "assistant": "assistant"}
"""How most formats write the roles."""


def turns(
    value: object,
    roles: Mapping[str, Role] = ROLES,
    role_key: str = "role",
    text_key: str = "content",
) -> tuple[Message, ...]:
    """Turns of a conversation: perhaps a system turn, then user and assistant in turn.

    Raises:
        Rejected: If there is no turn, one is blank, has another role or another field, or they do
            not alternate.
    """
    if not isinstance(value, list) or not value:
        raise Rejected("conversation is missing or not a list")
    messages = []
    for turn in value:
        only_columns(as_object(turn), (role_key, text_key))
        role = roles.get(text_field(turn, role_key))
        if role is None:
            raise Rejected("unknown role")
        text = text_field(turn, text_key)
        if not text.strip():
            raise Rejected("empty turn")
        messages.append(Message(role=role, content=text))
    spoken = [message.role for message in messages[1 if messages[0].role == "system" else 0 :]]
    if not spoken or spoken != [("user", "assistant")[index % 2] for index in range(len(spoken))]:
        raise Rejected("turns do not alternate")
    return tuple(messages)


def as_prompt(messages: Sequence[Message]) -> tuple[Message, ...]:
    """Turns that wait for a reply.

    Raises:
        Rejected: If the user does not speak last.
    """
    if not messages or messages[-1].role != "user":
        raise Rejected("prompt does not end with the user")
    return tuple(messages)


def user_prompt(text: str) -> tuple[Message, ...]:
    """A plain prompt as one turn of the user.

    Raises:
        Rejected: If it is blank.
    """
    if not text.strip():
        raise Rejected("empty prompt")
    return (Message(role="user", content=text),)


def source(format: str, policy: str = "unknown") -> ResponseSource:
    """Where the responses of a file come from, of which the file says nothing else."""
    return ResponseSource(policy=policy, chat_template="unknown", role_format=format, decoder=None)


def pair_event(
    format: str, prompt: tuple[Message, ...], chosen: str, rejected: str, attribution: Attribution
) -> FeedbackEvent:
    """A chosen and a rejected response as a comparison of strength 0, as nobody measured how much
    better one is.

    The responses stand in the order of their text, so that the order tells nothing about which was
    chosen.

    Raises:
        Rejected: If a response is blank, or both are the same.
    """
    if not chosen.strip() or not rejected.strip():
        raise Rejected("empty response")
    if chosen == rejected:
        raise Rejected("identical responses")
    texts = sorted((chosen, rejected))
    preferred: Literal[0, 1] = 0 if texts[0] == chosen else 1
    return judged(format, prompt, texts, Comparison(preferred=preferred, strength=0), attribution)


def verdict_event(
    format: str, prompt: tuple[Message, ...], response: str, label: object, attribution: Attribution
) -> FeedbackEvent:
    """One response with a label: an unpaired verdict.

    Raises:
        Rejected: If the response is blank or the label neither true nor false.
    """
    if not response.strip():
        raise Rejected("empty response")
    if not isinstance(label, bool):
        raise Rejected("label is missing or not true or false")
    return judged(format, prompt, [response], ResponseLabel(desirable=label), attribution)


def judged(
    format: str,
    prompt: tuple[Message, ...],
    texts: Sequence[str],
    judgment: Judgment,
    attribution: Attribution,
    *,
    annotator: str | None = None,
    time: datetime | None = None,
    **fields: Any,
) -> FeedbackEvent:
    """A judgment of responses; who judged and when come from the attribution where the file does
    not say.

    Args:
        format: Name of the format, for the provenance.
        prompt: The conversation before the responses.
        texts: The responses.
        judgment: The judgment.
        attribution: What the file does not say.
        annotator: Pseudonym; `<format>-annotators` when the file names nobody.
        time: When it was judged.
        **fields: Further fields of the event.
    """
    return FeedbackEvent.create(
        prompt=prompt,
        responses=tuple(Response(text=text, source=source(format)) for text in texts),
        judgment=judgment,
        annotator=annotator or f"{format}-annotators",
        provenance=Provenance(
            written_by=f"{format} file", filtered_by="unknown", approved_by=attribution.approved_by
        ),
        consent=Consent(scope="training", version=attribution.consent_version),
        rubric=attribution.rubric,
        context=Context(locale="und", domain="unknown", slice="unsliced"),
        synthetic=attribution.synthetic,
        time=time or attribution.time,
        **fields,
    )
