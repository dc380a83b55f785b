"""Importer of Anthropic's HH-RLHF transcripts (Bai et al. 2022): rows with `chosen` and
`rejected`."""

import re
from collections.abc import Mapping
from typing import Any, Literal

from plumbline.data.formats.fields import as_object, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.schema.conversations import Message, Response, ResponseSource
from plumbline.schema.feedback import Comparison, Consent, Context, FeedbackEvent, Provenance
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id

_TURN = re.compile(r"\n\n(Human|Assistant):")
_LAST_REPLY = "\n\nAssistant:"
_SOURCE = ResponseSource(
    policy="anthropic-context-distilled-52b",
    chat_template="unknown",
    role_format="human-assistant",
    decoder=None,
)
_CONTEXT = Context(locale="en", domain="red-teaming", slice="hh-harmless")


def hh_event(value: object, attribution: Attribution) -> FeedbackEvent:
    """A pair of transcripts as a comparison.

    A row is rejected, for the first reason that holds, as `prompt mismatch` (the two transcripts
    differ before the last reply), `malformed transcript` (turns do not alternate from Human to
    Assistant, or one is blank), `empty response` or `identical responses`.

    The file names no annotator, time or strength: the annotator is `hh-crowd`, the time that of the
    attribution, and the strength 0, whose margin asks for no distance that nobody measured. The
    order of the two responses is that of their text, so that it tells nothing about which was
    chosen.

    Raises:
        Rejected: As above, or if a transcript is missing.
    """
    prompt, chosen, rejected = _pair(as_object(value))
    first, second = sorted((chosen, rejected))
    preferred: Literal[0, 1] = 0 if first == chosen else 1
    return FeedbackEvent.create(
        prompt=prompt,
        responses=(Response(text=first, source=_SOURCE), Response(text=second, source=_SOURCE)),
        judgment=Comparison(preferred=preferred, strength=0),
        annotator="hh-crowd",
        provenance=Provenance(
            written_by="hh-rlhf crowd workers",
            filtered_by="anthropics/hh-rlhf",
            approved_by=attribution.approved_by,
        ),
        consent=Consent(scope="training", version=attribution.consent_version),
        rubric=attribution.rubric,
        context=_CONTEXT,
        synthetic=attribution.synthetic,
        time=attribution.time,
    )


def hh_prompt(value: object) -> EvalPrompt:
    """The conversation before the last reply as a held-out prompt; what a good policy does on it is
    not known.

    Raises:
        Rejected: If the transcript is missing or malformed.
    """
    prompt = parse_transcript(text_field(as_object(value), "chosen"))
    return EvalPrompt(
        id=content_id(["hh", [m.model_dump() for m in prompt]]),
        prompt=prompt,
        expected="unknown",
        context=_CONTEXT,
    )


def parse_transcript(transcript: str) -> tuple[Message, ...]:
    r"""The turns of a `\n\nHuman: ...\n\nAssistant: ...` transcript, without white space at their
    ends.

    The last reply is not part of the result.

    Raises:
        Rejected: If turns do not alternate from Human to Assistant, or a turn before the last reply
            is blank.
    """
    before, *parts = _TURN.split(transcript)
    roles, texts = parts[::2], [text.strip() for text in parts[1::2]]
    alternating = ["Human", "Assistant"] * (len(roles) // 2)
    if before.strip() or not roles or roles != alternating or not all(texts[:-1]):
        raise Rejected("malformed transcript")
    turns = zip(roles[:-1], texts[:-1], strict=True)
    return tuple(
        Message(role="user" if role == "Human" else "assistant", content=text)
        for role, text in turns
    )


def _pair(row: Mapping[str, Any]) -> tuple[tuple[Message, ...], str, str]:
    chosen_prompt, _, chosen = text_field(row, "chosen").rpartition(_LAST_REPLY)
    rejected_prompt, _, rejected = text_field(row, "rejected").rpartition(_LAST_REPLY)
    if chosen_prompt != rejected_prompt:
        raise Rejected("prompt mismatch")
    prompt = parse_transcript(text_field(row, "chosen"))
    chosen, rejected = chosen.strip(), rejected.strip()
    if not chosen or not rejected:
        raise Rejected("empty response")
    if chosen == rejected:
        raise Rejected("identical responses")
    return prompt, chosen, rejected
