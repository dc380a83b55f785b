"""Deliveries: how each event came into the feedback store, and the rows that did not.

A file, a message or a form is one delivery. Every row of it ends in exactly one of three counts:
accepted, duplicate or quarantined. A quarantined row is kept with its place and its reason; nothing
is lost and nothing is taken in twice.
"""

import itertools
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Final, Literal, NamedTuple, cast

from sqlalchemy import Connection, func, insert, select

from plumbline.data.formats.import_report import ImportedRow
from plumbline.data.readers.rows import RejectedRow, bad_row
from plumbline.data.store.database import CHUNK, chunks, to_text
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.spool import IngestChannel, ParsedUpload
from plumbline.errors import DataError
from plumbline.schema.feedback import FeedbackEvent

CONFLICT: Final = "same id with another body"


@dataclass(frozen=True)
class Delivery:
    """One delivery; rows = accepted + duplicate + quarantined."""

    id: int | None
    """Number of the delivery; None when it held no row."""
    source: str
    """Name of the file, or who sent it."""
    way: IngestChannel
    digest: str
    """SHA-256 of the bytes that came."""
    received_at: datetime
    rows: int
    accepted: int
    """Events that are new."""
    duplicate: int
    """Rows whose event, or whose quarantined row, was there already."""
    quarantined: int
    """Rows that could not be taken in."""
    repeats: bool = False
    """Whether the same bytes had come before and brought nothing new: then nothing was written, and
    the id is that of the delivery before."""


@dataclass(frozen=True)
class QuarantinedRow:
    """A row that could not be taken in."""

    delivery: int
    source: str
    row: int
    """Number of the row, from 1."""
    offset: int
    """Its first byte, after decompression."""
    length: int
    """Its bytes."""
    reason: str
    event_id: str | None
    """Id of the event, where the row was one."""
    digest: str
    """SHA-256 of the whole row."""
    body: bytes
    """Its first `plumbline.data.readers.rows.KEPT_BYTES` bytes."""


class RowOutcome(NamedTuple):
    """What became of one row."""

    row: int
    event_id: str | None
    result: Literal["accepted", "duplicate", "quarantined"]
    reason: str | None


class Deliveries:
    """The deliveries of a feedback store.

    Args:
        store: The store that the events go to.
    """

    def __init__(self, store: FeedbackStore) -> None:
        self._store = store
        self._database = store.database

    def deliver(
        self,
        source: str,
        way: IngestChannel,
        rows: Iterable[ImportedRow[FeedbackEvent] | RejectedRow],
        digest: str,
        now: datetime,
        each: Callable[[RowOutcome], None] | None = None,
    ) -> Delivery:
        """Take in one delivery, whole or not at all; the same again writes nothing and reports its
        rows as duplicates.

        Args:
            source: Name of the file, or who sent it.
            way: How it came.
            rows: What `read_feedback` makes of it.
            digest: SHA-256 of the bytes that came.
            now: When it was received.
            each: Told what became of each row, the bad ones last; before the end of the
                transaction, so to be believed only on return.
        """
        with ParsedUpload(source, way, rows, digest) as upload:
            return self.deliver_uploads([upload], now, each=each)[0]

    def deliver_uploads(
        self,
        uploads: Sequence[ParsedUpload],
        now: datetime,
        batch: str | None = None,
        each: Callable[[RowOutcome], None] | None = None,
    ) -> tuple[Delivery, ...]:
        """Take in several deliveries together, or none of them on an error.

        Args:
            uploads: The deliveries.
            now: When they were received.
            batch: Name of a batch to close with all their events; without one, the events wait for
                a batch.
            each: As in `deliver`.

        Raises:
            DataError: If the batch cannot be closed (see `FeedbackStore.close_batch`), or an event
                that it needs is in conflict with a stored one.
        """
        with self._database.writing() as connection:
            delivered = tuple(
                self._deliver(connection, upload, now, each or (lambda _: None))
                for upload in uploads
            )
            if batch is not None:
                if any(conflicts for _, conflicts in delivered):
                    raise DataError(
                        f"batch '{batch}': an event is in the store with another body under the"
                        " same id: store or sender is corrupt"
                    )
                self._store.close_batch(
                    connection,
                    batch,
                    {event.id for upload in uploads for event in upload.events()},
                    now,
                )
        return tuple(delivery for delivery, _ in delivered)

    def quarantined(self, delivery: int | None = None) -> Iterator[QuarantinedRow]:
        """The quarantined rows of all deliveries, or of one, in the order in which they came."""
        rows, deliveries = self._database.tables.quarantined_rows, self._database.tables.deliveries
        query = (
            select(rows, deliveries.c.source)
            .join(deliveries, rows.c.delivery_id == deliveries.c.id)
            .order_by(rows.c.id)
        )
        if delivery is not None:
            query = query.where(rows.c.delivery_id == delivery)
        with self._database.reading() as connection:
            for row in connection.execution_options(yield_per=CHUNK).execute(query):
                yield QuarantinedRow(
                    delivery=row.delivery_id,
                    source=row.source,
                    row=row.row,
                    offset=row.byte_offset,
                    length=row.length,
                    reason=row.reason,
                    event_id=row.event_id,
                    digest=row.digest,
                    body=bytes(row.body),
                )

    def history(self) -> tuple[Delivery, ...]:
        """All deliveries that brought something, in the order in which they came."""
        deliveries = self._database.tables.deliveries
        with self._database.reading() as connection:
            return tuple(
                _delivery(row)
                for row in connection.execute(select(deliveries).order_by(deliveries.c.id))
            )

    def of_event(self, event_id: str) -> Delivery | None:
        """The delivery that brought an event; None for an event that came in before deliveries were
        recorded, or that is not there."""
        links, deliveries = self._database.tables.event_deliveries, self._database.tables.deliveries
        query = (
            select(deliveries)
            .join(links, links.c.delivery_id == deliveries.c.id)
            .where(links.c.event_id == event_id)
        )
        with self._database.reading() as connection:
            row = connection.execute(query).first()
        return None if row is None else _delivery(row)

    def holds(self, event_id: str) -> bool:
        """Whether an event is in the store."""
        events = self._database.tables.events
        with self._database.reading() as connection:
            return (
                connection.execute(select(events.c.id).where(events.c.id == event_id)).first()
                is not None
            )

    def batch_of(self, event_id: str) -> str | None:
        """The batch that an event is in; None while it waits for one."""
        events = self._database.tables.events
        with self._database.reading() as connection:
            batch = connection.execute(
                select(events.c.batch_id).where(events.c.id == event_id)
            ).scalar()
        return None if batch is None else str(batch)

    def _deliver(
        self,
        connection: Connection,
        upload: ParsedUpload,
        now: datetime,
        report: Callable[[RowOutcome], None],
    ) -> tuple[Delivery, int]:
        """One delivery, and how many of its events are in conflict with stored ones."""
        tables = self._database.tables
        accepted, conflicts, duplicate = self._insert(connection, upload, now, report)
        earlier, known = self._earlier(connection, upload.digest)
        quarantined = 0
        for row, event_id in self._bad(upload, conflicts):
            there = (row.number, row.digest) in known
            duplicate, quarantined = duplicate + there, quarantined + (not there)
            report(
                RowOutcome(
                    row.number, event_id, "duplicate" if there else "quarantined", row.reason
                )
            )
        counts = {
            "rows": upload.report.rows_in,
            "accepted": len(accepted),
            "duplicate": duplicate,
            "quarantined": quarantined,
        }
        assert counts["rows"] == len(accepted) + duplicate + quarantined, (
            f"{upload.source}: rows were lost: {counts}"
        )
        values: dict[str, Any] = {
            "source": upload.source[:512],
            "way": upload.way,
            "digest": upload.digest,
            **counts,
        }
        if not upload.report.rows_in or (earlier is not None and not accepted and not quarantined):
            return Delivery(
                id=earlier, repeats=earlier is not None, received_at=now, **values
            ), len(conflicts)
        number = connection.execute(
            insert(tables.deliveries)
            .values(received_at=to_text(now), **values)
            .returning(tables.deliveries.c.id)
        ).scalar_one()
        for ids in chunks(accepted):
            connection.execute(
                insert(tables.event_deliveries),
                [{"event_id": event_id, "delivery_id": number} for event_id in ids],
            )
        for rows in chunks(
            (row, event_id)
            for row, event_id in self._bad(upload, conflicts)
            if (row.number, row.digest) not in known
        ):
            connection.execute(
                insert(tables.quarantined_rows), [_values(number, *rejected) for rejected in rows]
            )
        return Delivery(id=number, received_at=now, **values), len(conflicts)

    def _insert(
        self,
        connection: Connection,
        upload: ParsedUpload,
        now: datetime,
        report: Callable[[RowOutcome], None],
    ) -> tuple[list[str], list[tuple[RejectedRow, str | None]], int]:
        """Put the events into the store; ids of the new ones, the conflicts, and how many were
        there already."""
        accepted: list[str] = []
        conflicts: list[tuple[RejectedRow, str | None]] = []
        duplicate = 0
        for chunk in chunks(upload.events()):
            inserted = self._store.insert(connection, cast("Sequence[FeedbackEvent]", chunk), now)
            new, there = set(inserted.accepted), Counter(inserted.duplicate)
            for event in chunk:
                if event.id in new:
                    new.remove(event.id)
                    accepted.append(event.id)
                    report(RowOutcome(event.row, event.id, "accepted", None))
                elif there[event.id]:
                    there[event.id] -= 1
                    duplicate += 1
                    report(RowOutcome(event.row, event.id, "duplicate", None))
                else:
                    conflicts.append(
                        (bad_row(event.row, event.offset, event.body, CONFLICT), event.id)
                    )
        return accepted, conflicts, duplicate

    @staticmethod
    def _bad(
        upload: ParsedUpload, conflicts: Iterable[tuple[RejectedRow, str | None]]
    ) -> Iterator[tuple[RejectedRow, str | None]]:
        return itertools.chain(((row, None) for row in upload.bad()), conflicts)

    def _earlier(
        self, connection: Connection, digest: str
    ) -> tuple[int | None, set[tuple[int, str]]]:
        """The first delivery of the same bytes, and the rows of these bytes that are quarantined
        already."""
        rows, deliveries = self._database.tables.quarantined_rows, self._database.tables.deliveries
        first = connection.execute(
            select(func.min(deliveries.c.id)).where(deliveries.c.digest == digest)
        ).scalar()
        if first is None:
            return None, set()
        query = (
            select(rows.c.row, rows.c.digest)
            .join(deliveries, rows.c.delivery_id == deliveries.c.id)
            .where(deliveries.c.digest == digest)
        )
        return int(first), {(row.row, row.digest) for row in connection.execute(query)}


def _values(delivery: int | None, row: RejectedRow, event_id: str | None) -> dict[str, Any]:
    return {
        "delivery_id": delivery,
        "row": row.number,
        "byte_offset": row.offset,
        "length": row.length,
        "reason": row.reason[:256],
        "event_id": event_id,
        "body": row.body,
        "digest": row.digest,
    }


def _delivery(row: Any) -> Delivery:
    return Delivery(**{**row._mapping, "received_at": datetime.fromisoformat(row.received_at)})
