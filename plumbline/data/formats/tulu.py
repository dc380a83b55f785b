"""Importer of the human evaluation of Tulu 1 (Wang et al. 2023, "How Far Can Camels Go?"): one
.jsonl file per day."""

import re
from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal

from plumbline.data.formats.fields import as_object, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.schema.conversations import Message, Response, ResponseSource
from plumbline.schema.feedback import (
    Comparison,
    Consent,
    Context,
    FeedbackEvent,
    Provenance,
    Strength,
)

_PREFERENCES: Final[dict[str, tuple[Literal[0, 1] | None, Strength]]] = {
    "a-is-better": (0, 2),
    "a-is-slightly-better": (0, 1),
    "tie": (None, 0),
    "b-is-slightly-better": (1, 1),
    "b-is-better": (1, 2),
}


def tulu_event(value: object, attribution: Attribution) -> FeedbackEvent:
    """A judgment as a comparison, with whether each completion was acceptable by itself.

    The five-point scale becomes preferred and strength: `better` is 2, `slightly better` 1, `tie`
    none and 0. Times carry no zone in the files and are read as UTC. The file does not say how
    responses were decoded or templated.

    Raises:
        Rejected: If a field is missing, blank or has another value.
    """
    row = as_object(value)
    preference = text_field(row, "preference")
    if preference not in _PREFERENCES:
        raise Rejected("unknown preference")
    preferred, strength = _PREFERENCES[preference]
    prompt = text_field(row, "prompt")
    if not prompt.strip():
        raise Rejected("empty prompt")
    responses = tuple(
        _response(text_field(row, f"completion_{side}"), text_field(row, f"model_{side}"))
        for side in "ab"
    )
    if not all(response.text.strip() for response in responses):
        raise Rejected("empty response")
    return FeedbackEvent.create(
        prompt=(Message(role="user", content=prompt),),
        responses=responses,
        judgment=Comparison(preferred=preferred, strength=strength),
        acceptable=_acceptable(row),
        annotator=text_field(row, "evaluator"),
        provenance=Provenance(
            written_by="tulu-1 human evaluation",
            filtered_by="allenai/open-instruct",
            approved_by=attribution.approved_by,
        ),
        consent=Consent(scope="training", version=attribution.consent_version),
        rubric=attribution.rubric,
        context=Context(
            locale="en",
            domain=re.sub(r"_\d+$", "", text_field(row, "instance_id")) or "unknown",
            slice="tulu",
        ),
        synthetic=False,
        time=_time(text_field(row, "timestamp")),
    )


def _acceptable(row: Mapping[str, Any]) -> tuple[bool | None, ...]:
    answers = [row.get(f"completion_{side}_is_acceptable") for side in "ab"]
    if any(answer not in (None, "yes", "no") for answer in answers):
        raise Rejected("unknown acceptability")
    return (
        ()
        if answers == [None, None]
        else tuple(None if answer is None else answer == "yes" for answer in answers)
    )


def _response(text: str, model: str) -> Response:
    if not model:
        raise Rejected("model is empty")
    return Response(
        text=text,
        source=ResponseSource(
            policy=model, chat_template="unknown", role_format="unknown", decoder=None
        ),
    )


def _time(text: str) -> datetime:
    try:
        time = datetime.fromisoformat(text)
    except ValueError as error:
        raise Rejected("timestamp is not ISO 8601") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
