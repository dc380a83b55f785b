"""The feedback store: append-only events, and the closed, immutable batches that they are in."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING

from pydantic import ValidationError

from plumbline.data.batches import Batch, Claim, OpenEvents, Receipt, batch_digest
from plumbline.data.database import Database, to_text
from plumbline.data.rules import BatchRule
from plumbline.data.schema import FeedbackEvent
from plumbline.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = ["Batch", "Claim", "FeedbackStore", "OpenEvents", "Receipt", "batch_digest"]

_NAME = r"[a-z0-9][a-z0-9._-]{0,63}"  # an Identifier
_CHUNK = 500  # rows named in one statement; SQLite allows 999 variables in old builds


class FeedbackStore:
    """Feedback events in a database.

    Events are only ever added. An event is in at most one batch, and once a batch is closed, neither it nor its events change. Every
    method may be called by several processes at the same time.

    Raises:
        DataError: If the URL is neither `sqlite:///<path>` nor `postgresql+psycopg2://...`.
    """

    def __init__(self, url: str) -> None:
        self._database = Database(url)

    def close(self) -> None:
        """Close every connection."""
        self._database.close()

    def add(self, events: Iterable[FeedbackEvent], received_at: datetime | None = None) -> Receipt:
        """Take in events. Ids are derived from the content, so that a second delivery changes nothing.

        Args:
            events: The events; all are taken in, or none on an error.
            received_at: When they arrived; now by default.
        """
        with self._database.writing() as connection:
            return self._insert(connection, list(events), received_at or datetime.now(UTC))

    def open_events(self) -> OpenEvents:
        """How many events wait for a batch, and since when."""
        from sqlalchemy import func, select

        events = self._database.tables.events
        with self._database.reading() as connection:
            count, oldest = connection.execute(select(func.count(), func.min(events.c.received_at)).where(events.c.batch_id.is_(None))).one()
        return OpenEvents(int(count), None if oldest is None else datetime.fromisoformat(oldest))

    def close_batches(self, rule: BatchRule, now: datetime, key: Callable[[FeedbackEvent], str] | None = None) -> list[Batch]:
        """Close the batches that are due and return them; several processes may try at once, and each event ends in one batch.

        Open events are taken in the order in which they were received: a batch closes when it has `max_events`, and a smaller one when its
        oldest event is at least `max_age_hours` old.

        Args:
            rule: When a batch closes.
            now: The time to judge ages by.
            key: Events with different keys never share a batch; one group by default.
        """
        from sqlalchemy import select

        events = self._database.tables.events
        too_old = to_text(now - timedelta(hours=rule.max_age_hours))
        closed = []
        with self._database.writing() as connection:
            rows = connection.execute(
                select(events.c.id, events.c.received_at, *([events.c.body] if key else []))
                .where(events.c.batch_id.is_(None))
                .order_by(events.c.received_at, events.c.id)
            ).all()
            groups: dict[str, list[tuple[str, str]]] = {}
            for row in rows:
                group = key(_event(row.id, row.body)) if key else ""
                groups.setdefault(group, []).append((row.id, row.received_at))
            for members in groups.values():
                for start in range(0, len(members), rule.max_events):
                    chunk = members[start : start + rule.max_events]
                    if len(chunk) == rule.max_events or chunk[0][1] <= too_old:
                        ids = [identifier for identifier, _ in chunk]
                        closed.append(self._close(connection, f"b-{batch_digest(ids)[7:19]}", ids, now))
        return closed

    def add_batch(self, id: str, events: Iterable[FeedbackEvent], now: datetime | None = None) -> Batch:
        """Take in events and close them as one named batch, for example a day's file.

        The same name with the same events again changes nothing and returns the batch that is there.

        Raises:
            DataError: If the name is not an identifier or stands for another set of events, if there is no event, or if an event is in
                another batch already.
        """
        if re.fullmatch(_NAME, id) is None:
            raise DataError(f"batch '{id}': is not a name for a batch; use at most 64 lower-case letters, digits, '.', '_' and '-'")
        offered = {event.id: event for event in events}
        if not offered:
            raise DataError(f"batch '{id}': holds no event; a batch needs at least one")
        now = now or datetime.now(UTC)
        with self._database.writing() as connection:
            there = self._find(connection, id)
            if there is not None:
                if there.digest != batch_digest(offered):
                    raise DataError(
                        f"batch '{id}': is closed with {there.events} events ({there.digest}); now {len(offered)} other events come under the same "
                        "name. A closed batch never changes: give the new events a new name"
                    )
                return there
            receipt = self._insert(connection, list(offered.values()), now)
            if receipt.conflict:
                raise DataError(f"batch '{id}': {receipt.conflict} events are in the store with another body under the same id: the store is corrupt")
            return self._close(connection, id, list(offered), now)

    def batches(self) -> tuple[Batch, ...]:
        """All closed batches, in the order of their closing."""
        from sqlalchemy import select

        batches = self._database.tables.batches
        with self._database.reading() as connection:
            rows = connection.execute(select(batches)).all()
        return tuple(sorted((_batch(row) for row in rows), key=lambda batch: (batch.closed_at, batch.id)))

    def batch_events(self, batch_id: str) -> Iterator[FeedbackEvent]:
        """The events of a batch in the order of their ids, after the digest was recomputed from their content.

        Raises:
            DataError: If there is no such batch, or its events are not those that it was closed with.
        """
        from sqlalchemy import select

        events = self._database.tables.events
        with self._database.reading() as connection:
            batch = self._find(connection, batch_id)
            rows = connection.execute(select(events.c.id, events.c.body).where(events.c.batch_id == batch_id)).all()
        if batch is None:
            raise DataError(f"batch '{batch_id}': is not in the feedback store; known batches: {', '.join(b.id for b in self.batches()) or 'none'}")
        found = sorted((_event(row.id, row.body) for row in rows), key=lambda event: event.id)
        digest = batch_digest(event.id for event in found)
        if digest != batch.digest:
            raise DataError(
                f"batch '{batch_id}': was closed with {batch.events} events and digest {batch.digest}; the store now has {len(found)} events with "
                f"digest {digest}. The database was changed by hand: restore it from a copy"
            )
        return iter(found)

    def claim(self, digest: str, claimant: str, now: datetime) -> bool:
        """Take on the work for a digest, of a batch or of anything else that must be worked on once.

        Returns:
            True for exactly one caller, in all processes and for ever, unless the claim is released.
        """
        from sqlalchemy import select

        claims = self._database.tables.claims
        with self._database.writing() as connection:
            if connection.execute(select(claims.c.digest).where(claims.c.digest == digest)).first() is not None:
                return False
            connection.execute(claims.insert().values(digest=digest, claimant=claimant, claimed_at=to_text(now)))
        return True

    def claims(self) -> tuple[Claim, ...]:
        """All claims, the oldest first."""
        from sqlalchemy import select

        claims = self._database.tables.claims
        with self._database.reading() as connection:
            rows = connection.execute(select(claims)).all()
        found = [Claim(digest=row.digest, claimant=row.claimant, claimed_at=datetime.fromisoformat(row.claimed_at)) for row in rows]
        return tuple(sorted(found, key=lambda claim: (claim.claimed_at, claim.digest)))

    def release_claim(self, digest: str, claimed_at: datetime) -> bool:
        """Give back a claim whose run never came into being; True if it was removed.

        Args:
            digest: The digest that was claimed.
            claimed_at: When the dead claim was made; another claim on the same digest stays. Of two callers who find one dead claim, the
                slower can therefore not remove the claim that the quicker made in its place.
        """
        claims = self._database.tables.claims
        statement = claims.delete().where(claims.c.digest == digest, claims.c.claimed_at == to_text(claimed_at))
        with self._database.writing() as connection:
            return connection.execute(statement).rowcount == 1

    def _insert(self, connection: "Connection", offered: Sequence[FeedbackEvent], received_at: datetime) -> Receipt:
        from sqlalchemy import select

        events, received = self._database.tables.events, to_text(received_at)
        bodies: dict[str, bytes] = {}
        for chunk in _chunks([event.id for event in offered]):
            rows = connection.execute(select(events.c.id, events.c.body).where(events.c.id.in_(chunk)))
            bodies.update((row.id, bytes(row.body)) for row in rows)
        new, duplicate, conflict = [], 0, 0
        for event in offered:
            body = event.to_json()
            known = bodies.setdefault(event.id, body)
            if known is body:
                new.append({"id": event.id, "body": body, "received_at": received})
            elif known == body:
                duplicate += 1
            else:
                conflict += 1
        if new:
            connection.execute(events.insert(), new)
        return Receipt(accepted=len(new), duplicate=duplicate, conflict=conflict)

    def _close(self, connection: "Connection", batch_id: str, ids: Sequence[str], now: datetime) -> Batch:
        from sqlalchemy import select

        tables = self._database.tables
        batch = Batch(id=batch_id, digest=batch_digest(ids), events=len(ids), closed_at=now)
        connection.execute(tables.batches.insert().values(id=batch.id, digest=batch.digest, events=batch.events, closed_at=to_text(now)))
        for chunk in _chunks(ids):
            member = tables.events.c.id.in_(chunk)
            taken = connection.execute(select(tables.events.c.id, tables.events.c.batch_id).where(member, tables.events.c.batch_id.is_not(None))).first()
            if taken is not None:
                raise DataError(
                    f"batch '{batch_id}': event {taken.id} is in batch '{taken.batch_id}' already, and an event is in one batch only. "
                    "Take it out of the new batch, or use the batch that is there"
                )
            connection.execute(tables.events.update().where(member).values(batch_id=batch.id))
        return batch

    def _find(self, connection: "Connection", batch_id: str) -> Batch | None:
        from sqlalchemy import select

        batches = self._database.tables.batches
        row = connection.execute(select(batches).where(batches.c.id == batch_id)).first()
        return None if row is None else _batch(row)


def _batch(row: "object") -> Batch:
    values = row._mapping  # type: ignore[attr-defined]
    return Batch(id=values["id"], digest=values["digest"], events=values["events"], closed_at=datetime.fromisoformat(values["closed_at"]))


def _event(identifier: str, body: bytes) -> FeedbackEvent:
    try:
        event = FeedbackEvent.from_json(bytes(body))
    except ValidationError as error:
        raise DataError(f"event {identifier}: its stored body is damaged: {error.errors()[0]['msg']}; restore the feedback store from a copy") from error
    if event.id != identifier:
        raise DataError(f"event {identifier}: its stored body is that of event {event.id}; restore the feedback store from a copy")
    return event


def _chunks(ids: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(ids), _CHUNK):
        yield ids[start : start + _CHUNK]
