"""Importer of Argilla 2 exports (`dataset.records.to_json`): a record with fields, and responses to
questions by users."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Final, Literal

from plumbline.data.formats.conversations import as_prompt, judged, turns, user_prompt
from plumbline.data.formats.fields import as_object, text_field
from plumbline.data.formats.import_report import Attribution, Rejected
from plumbline.data.readers.rows import ParsedRow, RejectedRow, Row, bad_row
from plumbline.records import canonical_json
from plumbline.schema.feedback import Comparison, FeedbackEvent, Judgment, Ranking

_PROMPTS: Final = ("prompt", "instruction", "question", "input")
_REASONS: Final = ("reason", "comment", "explanation")
_TIES: Final = ("tie", "equal", "both")


def argilla_judgments(rows: Iterable[Row]) -> Iterator[Row]:
    """One row for each user who answered a record; a record that nobody answered is one bad row.
    Its suggestions, which no user made, are left out.

    The rows that come from one record have its number and place.
    """
    for row in rows:
        if isinstance(row, RejectedRow):
            yield row
            continue
        record = row.value
        responses = record.get("responses") if isinstance(record, dict) else None
        if not isinstance(responses, dict) or not all(
            isinstance(answers, list) for answers in responses.values()
        ):
            yield bad_row(row.number, row.offset, row.body, "no Argilla record with responses")
            continue
        users: dict[str, dict[str, Any]] = {}
        for question, answers in responses.items():
            for answer in answers:
                if isinstance(answer, dict) and isinstance(answer.get("user_id"), str):
                    users.setdefault(answer["user_id"], {})[question] = answer.get("value")
        if not users:
            yield bad_row(row.number, row.offset, row.body, "no user answered")
        for user, answered in users.items():
            value = {"fields": record.get("fields"), "user": user, "answers": answered}
            yield ParsedRow(row.number, row.offset, canonical_json(value), value)


def argilla_event(value: object, attribution: Attribution) -> FeedbackEvent:
    """One user's judgment.

    The fields hold the prompt (`prompt`, `instruction`, `question` or `input`: text or a chat) and
    the responses (every other field, in the order of their names). One question decides: its answer
    names a response field or says `tie`, or ranks all response fields. A text question `reason`,
    `comment` or `explanation` may come with it.

    Raises:
        Rejected: If the record or the answers are otherwise.
    """
    row = as_object(value)
    fields = as_object(row.get("fields"))
    named = [name for name in _PROMPTS if name in fields]
    if len(named) != 1:
        raise Rejected("not one field with the prompt")
    prompt = (
        as_prompt(turns(fields[named[0]]))
        if isinstance(fields[named[0]], list)
        else user_prompt(text_field(fields, named[0]))
    )
    names = sorted(set(fields) - set(named))
    texts = [text_field(fields, name) for name in names]
    if not all(text.strip() for text in texts):
        raise Rejected("empty response")
    answers = dict(as_object(row.get("answers")))
    reasons = [answers.pop(name) for name in _REASONS if name in answers]
    if len(answers) != 1 or len(reasons) > 1:
        raise Rejected("not one question that decides")
    judgment = _judgment(next(iter(answers.values())), names)
    reason = reasons[0] if reasons and isinstance(reasons[0], str) and reasons[0].strip() else None
    return judged(
        "argilla",
        prompt,
        texts,
        judgment,
        attribution,
        annotator=text_field(row, "user").lower(),
        reason=reason,
    )


def _judgment(answer: object, names: list[str]) -> Judgment:
    if isinstance(answer, str) and len(names) == 2:
        if answer.lower() in _TIES:
            return Comparison(preferred=None, strength=0)
        if answer in names:
            preferred: Literal[0, 1] = 0 if answer == names[0] else 1
            return Comparison(preferred=preferred, strength=0)
    if isinstance(answer, list):
        return Ranking(
            order=tuple(
                tuple(names.index(name) for name in place) for place in _places(answer, names)
            )
        )
    raise Rejected("answer names no response")


def _places(answer: list[object], names: list[str]) -> list[list[str]]:
    """Names of the fields by place; an export gives them in order, or each with its rank, where
    equal ranks tie."""
    by_rank: dict[int, list[str]] = {}
    for place, item in enumerate(answer):
        name, rank = (
            (item.get("value"), item.get("rank")) if isinstance(item, Mapping) else (item, place)
        )
        if name not in names or not isinstance(rank, int):
            raise Rejected("answer names no response")
        by_rank.setdefault(rank, []).append(str(name))
    if sorted(name for place in by_rank.values() for name in place) != names:
        raise Rejected("ranking leaves out a response or names it twice")
    return [sorted(by_rank[rank]) for rank in sorted(by_rank)]
