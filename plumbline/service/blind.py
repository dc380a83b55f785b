"""Blind judging: what an annotator sees of a task, and the event that a judgment becomes."""

import hashlib
from collections.abc import Mapping
from datetime import datetime
from typing import Annotated, Any

from pydantic import Field, StringConstraints, ValidationError

from plumbline.data.store.tasks import Task
from plumbline.errors import InvalidFeedback
from plumbline.records import Record
from plumbline.schema.conversations import Message, Response
from plumbline.schema.feedback import Comparison, FeedbackEvent, Ranking, Rating
from plumbline.schema.identifiers import Identifier, Text
from plumbline.schema.rubric import Rubric
from plumbline.service.consent_text import ConsentText


class ShownTask(Record):
    """A task as an annotator sees it: texts only, in an order that says nothing about who wrote
    them."""

    id: Identifier
    prompt: tuple[Message, ...]
    responses: tuple[str, ...] = Field(
        description=(
            "in the order in which this annotator sees them; a judgment counts them from 0 in this"
            " order"
        )
    )
    locale: Text
    rubric: Text
    consent: Text = Field(description="version of the consent text that a judgment has to name")


class TaskJudgment(Record):
    """An annotator's judgment of a task; responses are counted from 0 in the order in which they
    were shown."""

    task: Identifier
    judgment: Annotated[Comparison | Ranking, Field(discriminator="kind")]
    ratings: tuple[Rating, ...] = ()
    acceptable: tuple[bool | None, ...] = ()
    clause: Identifier | None = None
    reason: Annotated[str, StringConstraints(max_length=4000)] | None = None
    consent: Text = Field(description="version of the consent text that the annotator agreed to")


def shown_order(task: str, annotator: str, responses: int) -> tuple[int, ...]:
    """Indices of a task's responses in the order in which the annotator sees them.

    The order is a random one that depends on nothing but task and annotator: every order is as
    likely as any other, it is the same each time the page is opened, and neither the file nor the
    policies decide what stands first.
    """
    keys = [
        hashlib.sha256(f"{task}/{annotator}/{index}".encode()).digest()
        for index in range(responses)
    ]
    return tuple(sorted(range(responses), key=keys.__getitem__))


def shown_responses(task: Task, annotator: str) -> tuple[Response, ...]:
    """The responses of a task in the order in which the annotator sees them, with their sources."""
    return tuple(
        task.responses[index] for index in shown_order(task.id, annotator, len(task.responses))
    )


def shown(task: Task, annotator: str, rubric: Rubric, consent: ConsentText) -> ShownTask:
    """What the annotator may see of a task."""
    return ShownTask(
        id=task.id,
        prompt=task.prompt,
        responses=tuple(response.text for response in shown_responses(task, annotator)),
        locale=task.context.locale,
        rubric=rubric.label,
        consent=consent.version,
    )


def event_of(
    task: Task,
    given: TaskJudgment,
    annotator: str,
    rubric: Rubric,
    consent: ConsentText,
    time: datetime,
) -> FeedbackEvent:
    """The feedback event of a judgment; its responses stand in the order in which they were shown,
    so that a bias for a place can be measured.

    Raises:
        InvalidFeedback: If the judgment does not fit the task, the rubric or the consent text;
            names the field.
    """
    _require_fit(given, rubric, consent)
    fields: Mapping[str, Any] = {
        "prompt": task.prompt,
        "responses": shown_responses(task, annotator),
        "judgment": given.judgment,
        "ratings": tuple(
            sorted(given.ratings, key=lambda rating: (rating.response, rating.dimension))
        ),
        "acceptable": given.acceptable
        if any(answer is not None for answer in given.acceptable)
        else (),
        "clause": given.clause,
        "reason": (given.reason or "").strip() or None,
        "attack": task.attack,
        "annotator": annotator,
        "provenance": task.provenance,
        "consent": consent.given(time),
        "rubric": rubric.label,
        "context": task.context,
        "synthetic": False,
        "time": time,
    }
    try:
        return FeedbackEvent.create(**fields)
    except ValidationError as error:
        raise InvalidFeedback(
            "; ".join(
                f"{'.'.join(str(part) for part in wrong['loc']) or 'judgment'}: {wrong['msg']}"
                for wrong in error.errors()
            )
        ) from error


def _require_fit(given: TaskJudgment, rubric: Rubric, consent: ConsentText) -> None:
    _require(
        given.consent == consent.version,
        "consent",
        f"'{given.consent}' is not the text in force, which is '{consent.version}'; load the page"
        " again",
    )
    clauses = [clause.id for clause in rubric.clauses]
    _require(
        given.clause is None or given.clause in clauses,
        "clause",
        f"'{given.clause}' is not a clause of {rubric.label}: {', '.join(clauses)}",
    )
    foreign = sorted({rating.dimension for rating in given.ratings} - set(rubric.dimensions))
    _require(
        not foreign,
        "ratings",
        f"{rubric.label} does not rate {', '.join(foreign)}, but {', '.join(rubric.dimensions)}",
    )
    judgment = given.judgment
    if isinstance(judgment, Comparison) and judgment.preferred is None:
        _require(judgment.strength == 0, "strength", "is 0 when neither response is better")


def _require(condition: bool, field: str, problem: str) -> None:
    if not condition:
        raise InvalidFeedback(f"{field}: {problem}")
