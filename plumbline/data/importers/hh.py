"""Importer of Anthropic's HH-RLHF transcripts (Bai et al. 2022): .jsonl or .jsonl.gz with `chosen` and `rejected`."""

import re
from pathlib import Path
from typing import Literal

from plumbline.data.importers.json_rows import json_lines, json_object, text_field
from plumbline.data.importers.report import Attribution, Imported, Rejected, import_rows
from plumbline.data.schema import Comparison, Consent, Context, EvalPrompt, FeedbackEvent, Message, Provenance, Response, ResponseSource, content_id

_TURN = re.compile(r"\n\n(Human|Assistant):")
_LAST_REPLY = "\n\nAssistant:"
_SOURCE = ResponseSource(policy="anthropic-context-distilled-52b", chat_template="unknown", role_format="human-assistant", decoder=None)
_CONTEXT = Context(locale="en", domain="red-teaming", slice="hh-harmless")


def import_hh(path: Path, attribution: Attribution, limit: int | None = None) -> Imported[FeedbackEvent]:
    """Pairs of transcripts as feedback events.

    A row is rejected, for the first reason that holds, as `prompt mismatch` (the two transcripts differ before the last reply),
    `malformed transcript` (turns do not alternate from Human to Assistant, or one is blank), `empty response` or `identical responses`.

    The file names no annotator, time or strength: the annotator is `hh-crowd`, the time that of the attribution, and the strength 0, whose
    margin asks for no distance that nobody measured. The order of the two responses is that of their text, so that it tells nothing about
    which was chosen.

    Raises:
        DataError: If the file cannot be read; a bad row is rejected with a reason instead.
    """
    return import_rows(path, json_lines(path), lambda line: _event(line, attribution), limit)


def import_hh_prompts(path: Path, limit: int | None = None) -> Imported[EvalPrompt]:
    """The conversations before the last reply as held-out prompts; what a good policy does on them is not known.

    Raises:
        DataError: If the file cannot be read; a bad row is rejected with a reason instead.
    """
    return import_rows(path, json_lines(path), _eval_prompt, limit)


def parse_transcript(transcript: str) -> tuple[Message, ...]:
    r"""The turns of a `\n\nHuman: ...\n\nAssistant: ...` transcript, without white space at their ends.

    The last reply is not part of the result.

    Raises:
        Rejected: If turns do not alternate from Human to Assistant, or a turn before the last reply is blank.
    """
    before, *parts = _TURN.split(transcript)
    roles, texts = parts[::2], [text.strip() for text in parts[1::2]]
    alternating = ["Human", "Assistant"] * (len(roles) // 2)
    if before.strip() or not roles or roles != alternating or not all(texts[:-1]):
        raise Rejected("malformed transcript")
    turns = zip(roles[:-1], texts[:-1], strict=True)
    return tuple(Message(role="user" if role == "Human" else "assistant", content=text) for role, text in turns)


def _event(line: bytes, attribution: Attribution) -> FeedbackEvent:
    prompt, chosen, rejected = _pair(line)
    first, second = sorted((chosen, rejected))
    preferred: Literal[0, 1] = 0 if first == chosen else 1
    return FeedbackEvent.create(
        prompt=prompt,
        responses=(Response(text=first, source=_SOURCE), Response(text=second, source=_SOURCE)),
        judgment=Comparison(preferred=preferred, strength=0),
        annotator="hh-crowd",
        provenance=Provenance(written_by="hh-rlhf crowd workers", filtered_by="anthropics/hh-rlhf", approved_by=attribution.approved_by),
        consent=Consent(scope="training", version=attribution.consent_version),
        rubric=attribution.rubric,
        context=_CONTEXT,
        synthetic=False,
        time=attribution.time,
    )


def _pair(line: bytes) -> tuple[tuple[Message, ...], str, str]:
    row = json_object(line)
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


def _eval_prompt(line: bytes) -> EvalPrompt:
    prompt = parse_transcript(text_field(json_object(line), "chosen"))
    return EvalPrompt(id=content_id(["hh", [m.model_dump() for m in prompt]]), prompt=prompt, expected="unknown", context=_CONTEXT)
