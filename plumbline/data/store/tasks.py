"""Tasks: prompts with responses that wait for somebody's judgment."""

import hashlib
from collections import Counter
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, model_validator
from sqlalchemy import func, select

from plumbline.data.store.database import Database, to_text
from plumbline.errors import DataError
from plumbline.records import Record, canonical_json, parse_json
from plumbline.schema.conversations import Message, Response
from plumbline.schema.feedback import Context, Provenance
from plumbline.schema.held_out import Sample
from plumbline.schema.identifiers import Identifier, content_id
from plumbline.storage.jsonl import parse_record, read_lines

PAGE: Final = "page"
"""Way of the deliveries that come from the collecting page."""
_PREFIX = "collect/"
_ID_LENGTH = 40  # of every content id
_CHUNK = 500  # rows named in one statement


class Task(Record):
    """One prompt with the responses that an annotator compares or ranks; its id is derived from its
    content."""

    id: Identifier
    prompt: tuple[Message, ...] = Field(min_length=1)
    responses: tuple[Response, ...] = Field(
        min_length=2,
        max_length=16,
        description="from any number of policies and decoders; never shown with their source",
    )
    context: Context
    provenance: Provenance = Field(
        description="who wrote, filtered and approved the prompt and the responses"
    )
    attack: Identifier | None = Field(
        default=None,
        description=(
            "tactic of a prompt that was written to break the policy; null: an ordinary prompt"
        ),
    )

    @model_validator(mode="after")
    def _id_is_content(self) -> Self:
        expected = content_id(self.model_dump(mode="json", exclude={"id"}))
        if self.id != expected:
            raise ValueError(
                f"id {self.id} is not the digest of the content, which is {expected}; leave the id"
                " out to have it derived"
            )
        return self

    @model_validator(mode="after")
    def _can_be_judged(self) -> Self:
        if self.prompt[-1].role != "user":
            raise ValueError("the prompt must end with a turn of the user")
        texts = [response.text for response in self.responses]
        if len(set(texts)) != len(texts):
            raise ValueError("two responses are the same text, so that there is nothing to compare")
        return self

    @classmethod
    def create(cls, **fields: object) -> Self:
        """Build a task and derive its id from the other fields."""
        draft = cls.model_construct(id="", **fields)  # type: ignore[arg-type]  # model_validate checks them below
        return cls.model_validate(
            {"id": content_id(draft.model_dump(mode="json", exclude={"id"})), **fields}
        )


@dataclass(frozen=True)
class Turn:
    """What one annotator does next, and how far they are."""

    task: Task | None
    """None when there is nothing left to judge."""
    judged: int
    open: int


def source_of(task: str, annotator: str) -> str:
    """Source under which a judgment from the page is delivered: it says which task was judged by
    whom."""
    return f"{_PREFIX}{task}/{annotator}"


def read_tasks(path: Path) -> list[Task]:
    """The tasks of a JSONL file; ids may be left out. Every row must be right, or none is taken.

    Raises:
        DataError: If a row is not a task; names file, row and field. If a row is a sample of
            held-out evals: its prompt is held out, and judgments of it would carry it into
            training.
    """
    tasks = []
    for number, line in read_lines(path):
        where = f"{path}: row {number}"
        try:
            fields = parse_json(line)
            if not isinstance(fields, dict):
                raise ValueError("is not a JSON object")
            tasks.append(_task(fields))
        except ValueError as error:
            raise DataError(f"{where}: {error}; correct the row, nothing was added") from error
    if not tasks:
        raise DataError(
            f"{path}: holds no task; each row is a JSON object with prompt, responses, context and"
            " provenance"
        )
    return tasks


class Tasks:
    """The tasks in the feedback store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(self, tasks: Iterable[Task], now: datetime) -> int:
        """Take in tasks and return how many were new."""
        table = self._database.tables.tasks
        offered = {task.id: task for task in tasks}
        ids = list(offered)
        with self._database.writing() as connection:
            known: set[str] = set()
            for start in range(0, len(ids), _CHUNK):
                known.update(
                    connection.execute(
                        select(table.c.id).where(table.c.id.in_(ids[start : start + _CHUNK]))
                    ).scalars()
                )
            new = [
                {"id": task.id, "body": task.to_json(), "created_at": to_text(now)}
                for task in offered.values()
                if task.id not in known
            ]
            if new:
                connection.execute(table.insert(), new)
        return len(new)

    def get(self, identifier: str) -> Task | None:
        """The task of an id, or None."""
        table = self._database.tables.tasks
        with self._database.reading() as connection:
            body = connection.execute(select(table.c.body).where(table.c.id == identifier)).scalar()
        return None if body is None else Task.from_json(bytes(body))

    def judgments(self) -> Mapping[str, frozenset[str]]:
        """Who judged each task on the page, by task, for every task; read from the deliveries."""
        tables = self._database.tables
        with self._database.reading() as connection:
            tasks = (
                connection.execute(
                    select(tables.tasks.c.id).order_by(tables.tasks.c.created_at, tables.tasks.c.id)
                )
                .scalars()
                .all()
            )
            sources = (
                connection.execute(
                    select(tables.deliveries.c.source).where(tables.deliveries.c.way == PAGE)
                )
                .scalars()
                .all()
            )
        judged: dict[str, set[str]] = {task: set() for task in tasks}
        for source in sources:
            _, task, annotator = source.split("/", 2)
            judged.setdefault(task, set()).add(annotator)
        return {task: frozenset(judged[task]) for task in tasks}

    def is_judged(self, task: str, annotator: str) -> bool:
        """Whether the annotator has judged the task on the page."""
        deliveries = self._database.tables.deliveries
        judgment = (
            select(deliveries.c.id)
            .where(deliveries.c.way == PAGE, deliveries.c.source == source_of(task, annotator))
            .limit(1)
        )
        with self._database.reading() as connection:
            return connection.execute(judgment).first() is not None

    def next_for(self, annotator: str, skipped: Collection[str] = ()) -> Task | None:
        """The task that an annotator should judge next, or None when there is none left; see
        `turn_of`."""
        return self.turn_of(annotator, skipped).task

    def turn_of(self, annotator: str, skipped: Collection[str] = ()) -> Turn:
        """The task that an annotator should judge next, and how far they are.

        The one that the fewest have judged comes first, so that all tasks are covered before some
        are covered twice; among equals, the order is a different one for each annotator. What the
        annotator skipped comes last, in the order of skipping.
        """
        tasks, deliveries = self._database.tables.tasks, self._database.tables.deliveries
        # Grouped in the database: 50 000 judgments of 10 000 tasks take 0.3 s here, and 1.1 s when
        # every source is read.
        judged = func.substr(deliveries.c.source, len(_PREFIX) + 1, _ID_LENGTH)
        judge = func.substr(deliveries.c.source, len(_PREFIX) + _ID_LENGTH + 2)
        page = deliveries.c.way == PAGE
        with self._database.reading() as connection:
            ids = connection.execute(select(tasks.c.id)).scalars().all()
            counts: dict[str, int] = {
                row[0]: row[1]
                for row in connection.execute(
                    select(judged, func.count()).where(page).group_by(judged)
                )
            }
            own = set(connection.execute(select(judged).where(page, judge == annotator)).scalars())
        last = {task: place for place, task in enumerate(skipped, start=1)}
        open_ = [task for task in ids if task not in own]
        ranks = [(last.get(task, 0), counts.get(task, 0)) for task in open_]
        first = min(ranks, default=None)
        best = [task for task, rank in zip(open_, ranks, strict=True) if rank == first]
        chosen = min(
            best,
            key=lambda task: hashlib.sha256(f"{annotator}/{task}".encode()).digest(),
            default=None,
        )
        return Turn(None if chosen is None else self.get(chosen), len(ids) - len(open_), len(open_))

    def counts(self) -> dict[int, int]:
        """How many tasks have how many judgments: judgments to tasks."""
        return dict(sorted(Counter(len(judges) for judges in self.judgments().values()).items()))


def _task(fields: dict[str, Any]) -> Task:
    if "prompt_id" in fields and set(fields) <= set(Sample.model_fields):
        raise ValueError(
            "is a sample of held_out_evals. Its prompt is held out: judged, it would enter training"
            " and the evals would no longer measure anything. Let the policies answer other"
            " prompts, and import those"
        )
    if "id" not in fields:
        # Parsed under any id first, so that defaults stand in the digest as they will in the stored
        # record.
        draft = parse_record(canonical_json({**fields, "id": "0"}), _Draft)
        return Task.create(
            **{name: getattr(draft, name) for name in Task.model_fields if name != "id"}
        )
    return parse_record(canonical_json(fields), Task)


class _Draft(Record):
    """A task before its id is known."""

    id: Identifier
    prompt: tuple[Message, ...]
    responses: tuple[Response, ...]
    context: Context
    provenance: Provenance
    attack: Identifier | None = None
