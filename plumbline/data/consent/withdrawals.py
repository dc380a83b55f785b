"""Withdrawals of consent: who or what may no longer be used for training, from the next
materialization on.

A withdrawal only says so. The events stay in the store as the record of what was trained on
(`plumbline.lineage.descendants` lists it), until somebody erases them
(`plumbline.data.consent.erasure`). Like events, withdrawals are only ever added.
"""

from collections import Counter
from collections.abc import Iterable, Iterator
from datetime import datetime

from pydantic import ValidationError
from sqlalchemy import Connection, Row, func, or_, select

from plumbline.data.store.batches import stored_event
from plumbline.data.store.database import Database, to_text
from plumbline.errors import DataError
from plumbline.records import canonical_json, sha256
from plumbline.schema.feedback import FeedbackEvent, Withdrawal, WithdrawalKind

_SUBJECTS = {"person": "the person", "event": "the event", "consent": "the consent text"}


class Withdrawals:
    """The withdrawals of one feedback store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def withdraw(
        self, kind: WithdrawalKind, subject: str, by: str, reason: str, now: datetime
    ) -> Withdrawal:
        """Record a withdrawal; a repetition changes nothing and returns the first.

        Raises:
            DataError: If it does not say whose it is, who recorded it, or why.
        """
        table = self._database.tables.withdrawals
        with self._database.writing() as connection:
            withdrawal, known = self._draft(connection, kind, subject, by, reason, now)
            if not known:
                connection.execute(
                    table.insert().values({**withdrawal.model_dump(), "withdrawn_at": to_text(now)})
                )
        return withdrawal

    def draft(
        self, kind: WithdrawalKind, subject: str, by: str, reason: str, now: datetime
    ) -> Withdrawal:
        """What `withdraw` would return; nothing is recorded.

        Raises:
            DataError: If it does not say whose it is, who recorded it, or why.
        """
        with self._database.reading() as connection:
            return self._draft(connection, kind, subject, by, reason, now)[0]

    def all(self) -> tuple[Withdrawal, ...]:
        """All withdrawals, the first recorded first."""
        table = self._database.tables.withdrawals
        with self._database.reading() as connection:
            return tuple(
                _withdrawal(row) for row in connection.execute(select(table).order_by(table.c.id))
            )

    def get(self, number: int) -> Withdrawal:
        """The withdrawal of this number.

        Raises:
            DataError: If there is none.
        """
        known = self.all()
        for withdrawal in known:
            if withdrawal.id == number:
                return withdrawal
        raise DataError(
            f"withdrawal {number}: is not in {self._database.name}; it has"
            f" {', '.join(str(withdrawal.id) for withdrawal in known) or 'none'}"
        )

    def events(self, withdrawal: Withdrawal) -> frozenset[str]:
        """Ids of the stored events that a withdrawal concerns, those among them whose text was
        erased for it included."""
        with self._database.reading() as connection:
            return frozenset(
                [
                    *(event.id for event in self._matching(connection, withdrawal)),
                    *self._erased(connection, withdrawal),
                ]
            )

    def erased(self) -> Counter[int]:
        """How many events were erased for each withdrawal, by its number."""
        with self._database.reading() as connection:
            return Counter(
                connection.execute(select(self._database.tables.erasures.c.withdrawal_id)).scalars()
            )

    def _draft(
        self,
        connection: Connection,
        kind: WithdrawalKind,
        subject: str,
        by: str,
        reason: str,
        now: datetime,
    ) -> tuple[Withdrawal, bool]:
        """The withdrawal of a subject, and whether it was recorded before."""
        table = self._database.tables.withdrawals
        number = connection.execute(select(func.coalesce(func.max(table.c.id), 0))).scalar_one() + 1
        try:
            withdrawal = Withdrawal(
                id=number, kind=kind, subject=subject, by=by, reason=reason, withdrawn_at=now
            )
        except ValidationError as error:
            problems = "; ".join(
                f"{problem['loc'][0]}: {problem['msg']}" for problem in error.errors()
            )
            raise DataError(
                f"a withdrawal needs a kind, a subject, a name and a reason: {problems}"
            ) from error
        there = connection.execute(
            select(table).where(table.c.kind == kind, table.c.subject == withdrawal.subject)
        ).first()
        return (withdrawal, False) if there is None else (_withdrawal(there), True)

    def _matching(self, connection: Connection, withdrawal: Withdrawal) -> Iterator[FeedbackEvent]:
        events = self._database.tables.events
        # Every event that names the subject holds these bytes, so that few bodies have to be
        # parsed.
        needle = canonical_json(withdrawal.subject).rstrip(b"\n")
        for row in connection.execute(
            select(events.c.id, events.c.body), execution_options={"yield_per": 200}
        ):
            if (
                needle in bytes(row.body)
                and withdrawn(event := stored_event(row.id, row.body), (withdrawal,)) is not None
            ):
                yield event

    def _erased(self, connection: Connection, withdrawal: Withdrawal) -> Iterable[str]:
        erasures = self._database.tables.erasures
        concerned = or_(
            erasures.c.withdrawal_id == withdrawal.id,
            erasures.c.event_id == (withdrawal.subject if withdrawal.kind == "event" else None),
        )
        return connection.execute(select(erasures.c.event_id).where(concerned)).scalars()


def withdrawn(event: FeedbackEvent, withdrawals: Iterable[Withdrawal]) -> str | None:
    """Why an event may not be used any more, naming the first withdrawal that concerns it; None
    when none does.

    A person's withdrawal ends the use of what the person judged and of what the person gave consent
    for; an event's ends that of its redacted form as well.
    """
    subjects = {
        "person": (event.annotator, event.consent.given_by),
        "event": (event.id, event.redacted_from),
        "consent": (event.consent.version,),
    }
    for withdrawal in withdrawals:
        if withdrawal.subject in subjects[withdrawal.kind]:
            return f"withdrawn: {_SUBJECTS[withdrawal.kind]} {withdrawal.subject}"
    return None


def digest(withdrawals: Iterable[Withdrawal]) -> str:
    """Digest of what is withdrawn, whoever recorded it, why and in which order: data with one
    digest lacks the same events."""
    return sha256(
        canonical_json(sorted([withdrawal.kind, withdrawal.subject] for withdrawal in withdrawals))
    )


def _withdrawal(row: Row[tuple[object, ...]]) -> Withdrawal:
    values = dict(row._mapping)
    return Withdrawal.model_validate(
        {**values, "withdrawn_at": datetime.fromisoformat(str(values["withdrawn_at"]))}
    )
