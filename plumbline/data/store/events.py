"""The feedback store: append-only events, and the closed, immutable batches that they are in."""

import re
from collections.abc import Collection, Iterable, Iterator, Sequence
from dataclasses import asdict
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Connection, Row, func, select, tuple_

from plumbline.data.store.batches import (
    Batch,
    Claim,
    Inserted,
    OpenEvents,
    batch_digest,
    digest_of_sorted,
    stored_event,
)
from plumbline.data.store.database import CHUNK, Database, chunks, to_text
from plumbline.errors import DataError
from plumbline.profile.data import BatchConfig
from plumbline.schema.feedback import FeedbackEvent

ERASED = b""
"""Body of an event whose text was erased; its row and its id stay."""
_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"  # an Identifier


class FeedbackStore:
    """Feedback events in a database.

    Events are only ever added. An event is in at most one batch, and once a batch is closed,
    neither it nor its events change, except that the text of a withdrawn event can be erased. Every
    method may be called by several processes at the same time.

    Raises:
        DataError: If the URL is neither `sqlite:///<path>` nor `postgresql+psycopg2://...`.
    """

    def __init__(self, url: str) -> None:
        self.database = Database(url)
        """Shared with the other records that live beside the events."""

    def close(self) -> None:
        """Close every connection."""
        self.database.close()

    def insert(
        self, connection: Connection, events: Iterable[FeedbackEvent], received_at: datetime
    ) -> Inserted:
        """Take in events inside a transaction of `database.writing()`, so that what else belongs to
        them is written with them or not at all.

        Args:
            connection: The transaction.
            events: The events, read once and a few at a time.
            received_at: When they arrived.
        """
        received = to_text(received_at)
        accepted: list[str] = []
        duplicate: list[str] = []
        conflicts: list[str] = []
        for chunk in chunks(events):
            known = self._bodies(connection, [event.id for event in chunk])
            new = []
            for event in chunk:
                body = event.to_json()
                there = known.setdefault(event.id, body)
                if there is body:
                    accepted.append(event.id)
                    new.append({"id": event.id, "body": body, "received_at": received})
                elif there in (body, ERASED):
                    duplicate.append(event.id)
                else:
                    conflicts.append(event.id)
            if new:
                connection.execute(self.database.tables.events.insert(), new)
        return Inserted(tuple(accepted), tuple(duplicate), tuple(conflicts))

    def open_events(self) -> OpenEvents:
        """How many events wait for a batch, and since when."""
        events = self.database.tables.events
        with self.database.reading() as connection:
            count, oldest = connection.execute(
                select(func.count(), func.min(events.c.received_at)).where(
                    events.c.batch_id.is_(None)
                )
            ).one()
        return OpenEvents(int(count), None if oldest is None else datetime.fromisoformat(oldest))

    def close_batches(self, rule: BatchConfig, now: datetime) -> list[Batch]:
        """Close the batches that are due and return them; several processes may try at once, and
        each event ends in one batch.

        Open events are taken in the order in which they were received: a batch closes when it has
        `max_events`, and a smaller one when its oldest event is at least `max_age_hours` old.
        """
        events = self.database.tables.events
        too_old = to_text(now - timedelta(hours=rule.max_age_hours))
        place = tuple_(events.c.received_at, events.c.id)
        oldest = (
            select(events.c.id, events.c.received_at)
            .where(events.c.batch_id.is_(None))
            .order_by(events.c.received_at, events.c.id)
            .limit(rule.max_events)
        )
        closed = []
        with self.database.writing() as connection:
            while (rows := connection.execute(oldest).all()) and (
                len(rows) == rule.max_events or rows[0].received_at <= too_old
            ):
                ids = [row.id for row in rows]
                batch = self._record(connection, f"b-{batch_digest(ids)[7:19]}", ids, now)
                up_to_the_last = (
                    events.c.batch_id.is_(None),
                    place <= tuple_(rows[-1].received_at, rows[-1].id),
                )
                connection.execute(events.update().where(*up_to_the_last).values(batch_id=batch.id))
                closed.append(batch)
        return closed

    def close_batch(
        self, connection: Connection, id: str, event_ids: Collection[str], now: datetime
    ) -> Batch:
        """Close events that are in the store as one named batch, inside a transaction of
        `database.writing()`; a repetition changes nothing.

        Raises:
            DataError: If the name is not an identifier or stands for another set of events, if
                there is no event, or if an event is in another batch already.
        """
        ids = sorted(set(event_ids))
        if re.fullmatch(_NAME, id) is None:
            raise DataError(
                f"batch '{id}': is not a name for a batch; use at most 64 lower-case letters,"
                " digits, '.', '_' and '-'"
            )
        if not ids:
            raise DataError(f"batch '{id}': holds no event; a batch needs at least one")
        there = self._find(connection, id)
        if there is not None:
            if there.digest != batch_digest(ids):
                raise DataError(
                    f"batch '{id}': is closed with {there.events} events ({there.digest}); now"
                    f" {len(ids)} other events come under the same name. A closed batch never"
                    " changes: give the new events a new name"
                )
            return there
        batch = self._record(connection, id, ids, now)
        events = self.database.tables.events
        for chunk in chunks(ids):
            member = events.c.id.in_(chunk)
            taken = connection.execute(
                select(events.c.id, events.c.batch_id).where(member, events.c.batch_id.is_not(None))
            ).first()
            if taken is not None:
                raise DataError(
                    f"batch '{id}': event {taken.id} is in batch '{taken.batch_id}' already, and an"
                    " event is in one batch only. Take it out of the new batch, or use the batch"
                    " that is there"
                )
            connection.execute(events.update().where(member).values(batch_id=batch.id))
        return batch

    def batches(self) -> tuple[Batch, ...]:
        """All closed batches, in the order of their closing."""
        batches = self.database.tables.batches
        with self.database.reading() as connection:
            rows = connection.execute(select(batches)).all()
        return tuple(
            sorted((_batch(row) for row in rows), key=lambda batch: (batch.closed_at, batch.id))
        )

    def batch_events(self, batch_id: str) -> Iterator[FeedbackEvent]:
        """The events of a batch in the order of their ids, read a few at a time; erased events are
        left out.

        The digest is recomputed from the ids before the first event is given, and each event's
        content against its id when it is.

        Raises:
            DataError: If there is no such batch, or its events are not those that it was closed
                with.
        """
        events = self.database.tables.events
        members = select(events.c.id).where(events.c.batch_id == batch_id).order_by(events.c.id)
        with self.database.reading() as connection:
            batch = self._find(connection, batch_id)
            count, digest = digest_of_sorted(
                connection.execution_options(yield_per=CHUNK).execute(members).scalars()
            )
        if batch is None:
            raise DataError(
                f"batch '{batch_id}': is not in the feedback store; known batches:"
                f" {', '.join(b.id for b in self.batches()) or 'none'}"
            )
        if digest != batch.digest:
            raise DataError(
                f"batch '{batch_id}': was closed with {batch.events} events and digest"
                f" {batch.digest}; the store now has {count} events with digest {digest}. The"
                " database was changed by hand: restore it from a copy"
            )
        return self._read(batch_id)

    def _read(self, batch_id: str) -> Iterator[FeedbackEvent]:
        events, erasures = self.database.tables.events, self.database.tables.erasures
        kept = (
            select(events.c.id, events.c.body)
            .outerjoin(erasures, erasures.c.event_id == events.c.id)
            .where(events.c.batch_id == batch_id, erasures.c.event_id.is_(None))
            .order_by(events.c.id)
        )
        with self.database.reading() as connection:
            yield from (
                stored_event(row.id, row.body)
                for row in connection.execution_options(yield_per=CHUNK).execute(kept)
            )

    def claim(self, digest: str, claimant: str, now: datetime) -> bool:
        """Take on the work for a digest, of a batch or of anything else that must be worked on
        once.

        Returns:
            True for exactly one caller, in all processes and for ever, unless the claim is
            released.
        """
        claims = self.database.tables.claims
        with self.database.writing() as connection:
            if (
                connection.execute(select(claims.c.digest).where(claims.c.digest == digest)).first()
                is not None
            ):
                return False
            connection.execute(
                claims.insert().values(digest=digest, claimant=claimant, claimed_at=to_text(now))
            )
        return True

    def claims(self) -> tuple[Claim, ...]:
        """All claims, the oldest first."""
        claims = self.database.tables.claims
        with self.database.reading() as connection:
            rows = connection.execute(select(claims)).all()
        recorded = (
            Claim(row.digest, row.claimant, datetime.fromisoformat(row.claimed_at)) for row in rows
        )
        return tuple(sorted(recorded, key=lambda claim: (claim.claimed_at, claim.digest)))

    def release_claim(self, digest: str, claimed_at: datetime) -> bool:
        """Give back a claim whose run never came into being; True if it was removed.

        Args:
            digest: The digest that was claimed.
            claimed_at: When the dead claim was made; another claim on the same digest stays. Of two
                callers who find one dead claim, the slower can therefore not remove the claim that
                the quicker made in its place.
        """
        claims = self.database.tables.claims
        statement = claims.delete().where(
            claims.c.digest == digest, claims.c.claimed_at == to_text(claimed_at)
        )
        with self.database.writing() as connection:
            return connection.execute(statement).rowcount == 1

    def _bodies(self, connection: Connection, ids: Sequence[str]) -> dict[str, bytes]:
        """What is stored under the ids; `ERASED` for an event whose text was erased."""
        events = self.database.tables.events
        return {
            row.id: bytes(row.body)
            for row in connection.execute(
                select(events.c.id, events.c.body).where(events.c.id.in_(ids))
            )
        }

    def _record(
        self, connection: Connection, batch_id: str, ids: Sequence[str], now: datetime
    ) -> Batch:
        batch = Batch(id=batch_id, digest=batch_digest(ids), events=len(ids), closed_at=now)
        connection.execute(
            self.database.tables.batches.insert().values(
                {**asdict(batch), "closed_at": to_text(now)}
            )
        )
        return batch

    def _find(self, connection: Connection, batch_id: str) -> Batch | None:
        batches = self.database.tables.batches
        row = connection.execute(select(batches).where(batches.c.id == batch_id)).first()
        return None if row is None else _batch(row)


def _batch(row: Row[Any]) -> Batch:
    values = dict(row._mapping)
    return Batch(**{**values, "closed_at": datetime.fromisoformat(values["closed_at"])})
