"""Importer of the human evaluation of Tulu 1 (Wang et al. 2023, "How Far Can Camels Go?"): one .jsonl file per day."""

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Literal

from plumbline.data.importers.json_rows import json_lines, json_object, text_field
from plumbline.data.importers.report import Attribution, Imported, Rejected, import_rows
from plumbline.data.schema import Comparison, Consent, Context, FeedbackEvent, Message, Provenance, Response, ResponseSource, Strength

_PREFERENCES: Final[dict[str, tuple[Literal[0, 1] | None, Strength]]] = {
    "a-is-better": (0, 2),
    "a-is-slightly-better": (0, 1),
    "tie": (None, 0),
    "b-is-slightly-better": (1, 1),
    "b-is-better": (1, 2),
}


def import_tulu(path: Path, attribution: Attribution, limit: int | None = None) -> Imported[FeedbackEvent]:
    """Judgments as feedback events.

    The five-point scale becomes preferred and strength: `better` is 2, `slightly better` 1, `tie` none and 0. Times carry no zone in the
    files and are read as UTC. The file does not say how responses were decoded or templated. Whether each completion was acceptable by itself
    is not carried over: an event is a comparison.

    Raises:
        DataError: If the file cannot be read; a bad row is rejected with a reason instead.
    """
    return import_rows(path, json_lines(path), lambda line: _event(line, attribution), limit)


def _event(line: bytes, attribution: Attribution) -> FeedbackEvent:
    row = json_object(line)
    preference = text_field(row, "preference")
    if preference not in _PREFERENCES:
        raise Rejected("unknown preference")
    preferred, strength = _PREFERENCES[preference]
    prompt = text_field(row, "prompt")
    if not prompt.strip():
        raise Rejected("empty prompt")
    responses = tuple(_response(text_field(row, f"completion_{side}"), text_field(row, f"model_{side}")) for side in "ab")
    if not all(response.text.strip() for response in responses):
        raise Rejected("empty response")
    return FeedbackEvent.create(
        prompt=(Message(role="user", content=prompt),),
        responses=responses,
        judgment=Comparison(preferred=preferred, strength=strength),
        annotator=text_field(row, "evaluator"),
        provenance=Provenance(written_by="tulu-1 human evaluation", filtered_by="allenai/open-instruct", approved_by=attribution.approved_by),
        consent=Consent(scope="training", version=attribution.consent_version),
        rubric=attribution.rubric,
        context=Context(locale="en", domain=re.sub(r"_\d+$", "", text_field(row, "instance_id")) or "unknown", slice="tulu"),
        synthetic=False,
        time=_time(text_field(row, "timestamp")),
    )


def _response(text: str, model: str) -> Response:
    if not model:
        raise Rejected("model is empty")
    return Response(text=text, source=ResponseSource(policy=model, chat_template="unknown", role_format="unknown", decoder=None))


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise Rejected("timestamp is not ISO 8601") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
