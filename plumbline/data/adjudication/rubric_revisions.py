"""Proposals to revise a rubric: opened when people had to decide on one clause often enough or sent
a failure to it, and closed by a person."""

import json
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Literal, NamedTuple, Self

import yaml
from pydantic import AwareDatetime, Field, model_validator
from sqlalchemy import Connection, select

from plumbline.data.adjudication.decisions import (
    Adjudication,
    Adjudications,
    Choice,
    QueueItem,
    chosen_of,
    signed,
)
from plumbline.data.store.database import Database, to_text
from plumbline.errors import DataError
from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, Text
from plumbline.schema.rubric import Rubric, RubricApproval


class RubricRevision(Record):
    """A clause that may have to be written more clearly, with the decisions that say so."""

    id: int
    rubric: Text
    clause: Identifier
    opened_at: AwareDatetime
    adjudications: tuple[int, ...] = Field(description="ids of the decisions on this clause")
    cases: tuple[Identifier, ...] = Field(
        default=(), description="ids of the failures that people sent to this clause"
    )
    status: Literal["open", "accepted", "declined"]
    by: str | None = Field(description="who closed it; null while open")
    reason: str | None
    closed_at: AwareDatetime | None

    @model_validator(mode="after")
    def _has_a_cause(self) -> Self:
        if not self.adjudications and not self.cases:
            raise ValueError("a proposal cites at least one decision or one failure")
        return self


class Decided(NamedTuple):
    """A decision, and the proposals that it opened."""

    adjudication: Adjudication
    proposals: tuple[RubricRevision, ...]


class Proposals:
    """The proposals in the database of the feedback store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def open_due(
        self, connection: Connection, rubric: str, proposal_after: int, now: datetime
    ) -> tuple[RubricRevision, ...]:
        """Open a proposal for each clause of a rubric with enough decisions, and return the new
        ones.

        A decision counts while it is the current one of its item and until a proposal on its clause
        has cited that item. A clause has at most one open proposal.

        Args:
            connection: A transaction of `database.writing()`.
            rubric: Label of the rubric.
            proposal_after: Decisions that open a proposal.
            now: When it is opened.
        """
        made = {
            decision.id: decision
            for decision in Adjudications(self._database).read(connection)
            if decision.rubric == rubric
        }
        current = {decision.item: decision for decision in made.values()}
        earlier = [proposal for proposal in self._read(connection) if proposal.rubric == rubric]
        table = self._database.tables.proposals
        opened: list[int] = []
        for clause in sorted({decision.clause for decision in current.values()}):
            of_clause = [proposal for proposal in earlier if proposal.clause == clause]
            cited = {made[id].item for proposal in of_clause for id in proposal.adjudications}
            counted = sorted(
                decision.id
                for decision in current.values()
                if decision.clause == clause and decision.item not in cited
            )
            if len(counted) >= proposal_after and all(
                proposal.status != "open" for proposal in of_clause
            ):
                fields = {
                    "rubric": rubric,
                    "clause": clause,
                    "opened_at": to_text(now),
                    "adjudications": json.dumps(counted),
                    "status": "open",
                }
                opened.append(
                    connection.execute(
                        table.insert().values(**fields).returning(table.c.id)
                    ).scalar_one()
                )
        return tuple(proposal for proposal in self._read(connection) if proposal.id in opened)

    def open_for_case(
        self, rubric: Rubric, clause: str, case: str, now: datetime
    ) -> RubricRevision:
        """The open proposal on a clause, with a failure that a person sent to it; a repetition
        changes nothing.

        Args:
            rubric: The rubric as it is.
            clause: Its clause that should have said what to do.
            case: Id of the failure.
            now: When the proposal is opened, if none is open.

        Raises:
            ConfigError: If the rubric has no such clause.
        """
        rubric.clause(clause)
        table = self._database.tables.proposals
        with self._database.writing() as connection:
            existing = next(
                (
                    proposal
                    for proposal in self._read(connection)
                    if (proposal.rubric, proposal.clause, proposal.status)
                    == (rubric.label, clause, "open")
                ),
                None,
            )
            if existing is None:
                fields = {
                    "rubric": rubric.label,
                    "clause": clause,
                    "opened_at": to_text(now),
                    "adjudications": "[]",
                    "status": "open",
                }
                id = connection.execute(
                    table.insert().values(**fields, cases=json.dumps([case])).returning(table.c.id)
                ).scalar_one()
            else:
                id = existing.id
                cases = json.dumps(sorted({*existing.cases, case}))
                connection.execute(table.update().where(table.c.id == id).values(cases=cases))
            return next(proposal for proposal in self._read(connection) if proposal.id == id)

    def close(
        self, id: int, status: Literal["accepted", "declined"], by: str, reason: str, now: datetime
    ) -> RubricRevision:
        """Accept or decline an open proposal. Accepting changes no rubric: a person writes the next
        version from the draft.

        Raises:
            DataError: If there is no such proposal, it is closed already, or name or reason are
                empty.
        """
        by, reason = signed(by, reason, f"proposal {id}")
        table = self._database.tables.proposals
        with self._database.writing() as connection:
            proposal = next(
                (proposal for proposal in self._read(connection) if proposal.id == id), None
            )
            if proposal is None:
                raise DataError(
                    f"there is no proposal {id}; `plumbline profile rubric proposals list` shows"
                    " them"
                )
            if proposal.status != "open":
                raise DataError(
                    f"proposal {id} was {proposal.status} by {proposal.by} at"
                    f" {proposal.closed_at}; a closed proposal does not change"
                )
            connection.execute(
                table.update()
                .where(table.c.id == id)
                .values(status=status, by=by, reason=reason, closed_at=to_text(now))
            )
            return next(proposal for proposal in self._read(connection) if proposal.id == id)

    def all(self) -> tuple[RubricRevision, ...]:
        """Every proposal, the oldest first."""
        with self._database.reading() as connection:
            return self._read(connection)

    def _read(self, connection: Connection) -> tuple[RubricRevision, ...]:
        table = self._database.tables.proposals
        rows = connection.execute(select(table).order_by(table.c.id)).mappings()
        return tuple(
            RubricRevision.model_validate(
                {
                    **row,
                    "adjudications": tuple(json.loads(row["adjudications"])),
                    "cases": tuple(json.loads(row["cases"] or "[]")),
                    "opened_at": datetime.fromisoformat(row["opened_at"]),
                    "closed_at": (
                        None
                        if row["closed_at"] is None
                        else datetime.fromisoformat(row["closed_at"])
                    ),
                }
            )
            for row in rows
        )


def adjudicate(
    database: Database,
    item: QueueItem,
    rubric: Rubric,
    *,
    clause: str,
    decision: Choice,
    by: str,
    reason: str,
    proposal_after: int,
    now: datetime,
) -> Decided:
    """Decide on an item of the queue and open the proposals that this makes due, in one
    transaction.

    Raises:
        DataError: If the item is queued under another rubric, or the decision cannot be recorded.
        ConfigError: If the rubric has no such clause.
    """
    if item.rubric != rubric.label:
        raise DataError(
            f"item {item.item} was queued under {item.rubric}, the rubric is now"
            f" {rubric.label}; materialize preference_data again"
        )
    rubric.clause(clause)
    with database.writing() as connection:
        made = Adjudications(database).record(
            connection,
            item=item.item,
            rubric=rubric.label,
            clause=clause,
            decision=decision,
            chosen=chosen_of(item, decision),
            by=by,
            reason=reason,
            now=now,
        )
        due = Proposals(database).open_due(connection, rubric.label, proposal_after, now)
        return Decided(made, due)


def draft_revision(
    proposal: RubricRevision,
    rubric: Rubric,
    adjudications: Iterable[Adjudication],
    queue: Mapping[str, QueueItem],
) -> str:
    """The next version of the rubric as YAML, under comments that name each decision; a person
    rewrites the clause and signs it.

    The draft is a valid rubric: one version higher, still accepting judgments under the version
    before.

    Args:
        proposal: The proposal.
        rubric: The rubric as it is.
        adjudications: The decisions in the database.
        queue: Items of the newest queue by name, for their texts; a decided item may have left it.

    Raises:
        DataError: If the proposal is about another version of the rubric.
    """
    if proposal.rubric != rubric.label:
        raise DataError(
            f"proposal {proposal.id} is about {proposal.rubric}, the rubric is now {rubric.label}"
        )
    approval = RubricApproval(
        approved_by="nobody yet",
        date="not approved",
        reason=f"proposal {proposal.id} on clause {proposal.clause}",
    )
    following = rubric.model_copy(
        update={
            "version": rubric.version + 1,
            "approval": approval,
            "accepts": (*rubric.accepts, rubric.label),
        }
    )
    body = yaml.safe_dump(
        following.model_dump(mode="json"), sort_keys=False, allow_unicode=True, width=150
    )
    head = _explanation(proposal, rubric, adjudications, queue)
    return "".join(f"# {line}\n" for text in head for line in text.splitlines()) + body


def _explanation(
    proposal: RubricRevision,
    rubric: Rubric,
    adjudications: Iterable[Adjudication],
    queue: Mapping[str, QueueItem],
) -> list[str]:
    """Why the clause should be revised, and what to do with the draft."""
    clause = rubric.clause(proposal.clause)
    cited = [decision for decision in adjudications if decision.id in proposal.adjudications]
    return [
        (
            f"Proposal {proposal.id} to revise the clause `{clause.id}` of {rubric.label}, opened"
            f" {proposal.opened_at:%Y-%m-%d}."
        ),
        f"The clause now reads: {clause.name}",
        *(
            [f"People had to decide {len(cited)} items on it, because the votes did not:"]
            if cited
            else []
        ),
        *(line for decision in cited for line in _reasons(decision, queue.get(decision.item))),
        *(
            [
                f"People sent {len(proposal.cases)} failures to it; `plumbline evaluate failures"
                " list` shows"
                f" them: {', '.join(proposal.cases)}"
            ]
            if proposal.cases
            else []
        ),
        (
            "Rewrite the clause so that the next annotator does not have to ask, fill in the"
            " approval, and remove these lines."
        ),
        (
            f"Judgments under {rubric.label} keep counting; remove it under `accepts` if the new"
            " wording turns them round."
        ),
    ]


def _reasons(decision: Adjudication, item: QueueItem | None) -> list[str]:
    lines = [
        f"- decision {decision.id}, {decision.decided_at:%Y-%m-%d}, {_short(decision.by)}:"
        f" {decision.decision}: {_short(decision.reason)}"
    ]
    if item is not None:
        lines += [
            f"    prompt: {_short(item.prompt[-1].content)}",
            *(
                f"    {name}: {_short(t)}"
                for name, t in zip(("first", "second"), item.responses, strict=True)
            ),
        ]
        lines += [f"    vote: {_short(vote.reason)}" for vote in item.votes if vote.reason]
    return lines


def _short(text: str) -> str:
    """At most 120 characters of a text, as one line of printable characters."""
    line = " ".join(text.split())
    line = line if len(line) <= 120 else line[:117] + "..."
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in line
    )
