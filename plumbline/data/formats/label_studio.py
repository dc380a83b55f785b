"""Importer of Label Studio exports (JSON): tasks with annotations whose results are pairwise
choices, choices, ratings and texts."""

import re
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from typing import Any, Final, Literal, get_args

from plumbline.data.formats.conversations import judged, user_prompt
from plumbline.data.formats.fields import as_object, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.data.readers.rows import ParsedRow, RejectedRow, Row, bad_row
from plumbline.records import canonical_json
from plumbline.schema.feedback import Comparison, Dimension, FeedbackEvent, Rating

_PROMPTS: Final = ("prompt", "instruction", "question", "input")
_TIES: Final = ("tie", "equal", "both", "same")
_SIDES: Final[dict[str, Literal[0, 1]]] = {"left": 0, "right": 1, "first": 0, "second": 1}
_DIMENSIONS: Final[dict[str, Dimension]] = {name: name for name in get_args(Dimension)}


def label_studio_judgments(rows: Iterable[Row]) -> Iterator[Row]:
    """One row for each annotation of a task; a task that nobody annotated is one bad row, and so is
    a cancelled annotation.

    Predictions, which a model made, are left out. The rows that come from one task have its number
    and place.
    """
    for row in rows:
        if isinstance(row, RejectedRow):
            yield row
            continue
        task = row.value
        annotations = task.get("annotations") if isinstance(task, dict) else None
        if not isinstance(annotations, list) or not all(
            isinstance(annotation, dict) for annotation in annotations
        ):
            yield bad_row(row.number, row.offset, row.body, "no Label Studio task with annotations")
            continue
        if not annotations:
            yield bad_row(row.number, row.offset, row.body, "nobody annotated")
        for annotation in annotations:
            value = {"data": task.get("data"), "annotation": annotation}
            body = canonical_json(value)
            if annotation.get("was_cancelled"):
                yield bad_row(row.number, row.offset, body, "annotation was cancelled")
            else:
                yield ParsedRow(row.number, row.offset, body, value)


def label_studio_event(value: object, attribution: Attribution) -> FeedbackEvent:
    """One annotation as a comparison.

    The task's data hold the prompt (`prompt`, `instruction`, `question` or `input`). The result
    `pairwise` names the two response fields in `to_name` and selects one; a `choices` result of the
    same two fields with `tie` (or first, second, left, right) does as well. Besides it are read: a
    `rating` named after a dimension of ours for one response, `choices` named `acceptable` with yes
    or no for one response, and a `textarea` as the reason. The annotator is the number of the
    account: names and addresses in the export are not read.

    Raises:
        Rejected: If the annotation is otherwise.
    """
    row = as_object(value)
    data, annotation = as_object(row.get("data")), as_object(row.get("annotation"))
    results = annotation.get("result")
    if not isinstance(results, list) or not results:
        raise Rejected("annotation has no result")
    named = [name for name in _PROMPTS if name in data]
    if len(named) != 1:
        raise Rejected("not one field with the prompt")
    parts = [_part(result) for result in results]
    pairs = [part for part in parts if len(part[1]) == 2]
    if len(pairs) != 1:
        raise Rejected("not one result that compares two responses")
    names = pairs[0][1]
    texts = [text_field(data, name) for name in names]
    if not all(text.strip() for text in texts):
        raise Rejected("empty response")
    ratings, acceptable, reason = _details([part for part in parts if part is not pairs[0]], names)
    return judged(
        "label-studio",
        user_prompt(text_field(data, named[0])),
        texts,
        _comparison(*pairs[0]),
        attribution,
        annotator=_annotator(annotation.get("completed_by")),
        time=_time(annotation.get("created_at"), attribution),
        ratings=ratings,
        acceptable=acceptable,
        reason=reason,
    )


_Part = tuple[Mapping[str, Any], tuple[str, ...]]
"""A result, and the fields that it is about."""


def _part(result: object) -> _Part:
    part = as_object(result)
    as_object(part.get("value"))
    return part, tuple(name.strip() for name in text_field(part, "to_name").split(","))


def _comparison(part: Mapping[str, Any], _names: tuple[str, ...]) -> Comparison:
    value = part["value"]
    answer = value.get("selected") if part.get("type") == "pairwise" else _choice(value)
    if answer in _TIES:
        return Comparison(preferred=None, strength=0)
    if answer not in _SIDES:
        raise Rejected("comparison selects no response")
    return Comparison(preferred=_SIDES[answer], strength=0)


def _details(
    parts: list[_Part], names: tuple[str, ...]
) -> tuple[tuple[Rating, ...], tuple[bool | None, ...], str | None]:
    ratings: list[Rating] = []
    acceptable: list[bool | None] = [None, None]
    reasons: list[str] = []
    for part, about in parts:
        control, value = (
            re.split(r"[^a-z]", text_field(part, "from_name").lower())[0],
            part["value"],
        )
        index = names.index(about[0]) if about[0] in names else None
        match part.get("type"):
            case "rating" if (
                index is not None
                and control in _DIMENSIONS
                and isinstance(value.get("rating"), int)
            ):
                ratings.append(
                    Rating(response=index, dimension=_DIMENSIONS[control], score=value["rating"])
                )
            case "choices" if (
                index is not None and control == "acceptable" and _choice(value) in ("yes", "no")
            ):
                acceptable[index] = _choice(value) == "yes"
            case "textarea" if isinstance(value.get("text"), list) and all(
                isinstance(text, str) for text in value["text"]
            ):
                reasons += value["text"]
            case _:
                raise Rejected("result is not understood")
    return (
        tuple(ratings),
        () if acceptable == [None, None] else tuple(acceptable),
        "\n".join(reasons) or None,
    )


def _choice(value: Mapping[str, Any]) -> str | None:
    choices = value.get("choices")
    return (
        choices[0].lower()
        if isinstance(choices, list) and len(choices) == 1 and isinstance(choices[0], str)
        else None
    )


def _annotator(completed_by: object) -> str:
    account = completed_by.get("id") if isinstance(completed_by, dict) else completed_by
    if not isinstance(account, int):
        raise Rejected("annotation names no account")
    return f"label-studio-{account}"


def _time(created_at: object, attribution: Attribution) -> datetime:
    if created_at is None:
        return attribution.time
    try:
        time = datetime.fromisoformat(str(created_at))
    except ValueError as error:
        raise Rejected("created_at is not ISO 8601") from error
    return time.replace(tzinfo=UTC) if time.tzinfo is None else time.astimezone(UTC)
