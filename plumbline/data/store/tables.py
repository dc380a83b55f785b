"""The tables of the feedback store as the newest migration leaves them;
`plumbline/data/store/migrations` makes them.

Times are text in UTC (see `plumbline.data.store.database.to_text`), digests are `sha256:<hex>`.
Rows are only ever added, except that an event is put into its batch once, that an erased event
loses its body, that a key is revoked, and that a proposal is closed.
"""

from functools import cache
from typing import NamedTuple

from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
)


class Tables(NamedTuple):
    """The tables of the feedback store."""

    metadata: MetaData
    batches: Table
    events: Table
    claims: Table
    deliveries: Table
    quarantined_rows: Table
    event_deliveries: Table
    withdrawals: Table
    erasures: Table
    adjudications: Table
    proposals: Table
    flags: Table
    flag_decisions: Table
    api_keys: Table
    tasks: Table


@cache
def define_tables() -> Tables:
    """The definitions, made once in a process."""
    metadata = MetaData()
    return Tables(
        metadata,
        *_of_events(metadata),
        *_of_deliveries(metadata),
        *_of_withdrawals(metadata),
        *_of_judgments(metadata),
        *_of_service(metadata),
    )


def _of_events(metadata: MetaData) -> tuple[Table, Table, Table]:
    batches = Table(
        "batches",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("digest", String(71), nullable=False, unique=True),
        Column("events", Integer, nullable=False),
        Column("closed_at", String(32), nullable=False),
    )
    events = Table(
        "events",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("body", LargeBinary, nullable=False),
        Column("received_at", String(32), nullable=False),
        Column("batch_id", String(64), ForeignKey("batches.id"), nullable=True),
        Index("events_by_batch", "batch_id", "received_at", "id"),
    )
    claims = Table(
        "claims",
        metadata,
        Column("digest", String(71), primary_key=True),
        Column("claimant", String(256), nullable=False),
        Column("claimed_at", String(32), nullable=False),
    )
    return batches, events, claims


def _of_deliveries(metadata: MetaData) -> tuple[Table, Table, Table]:
    """How each event came in, and the rows that did not."""
    deliveries = Table(
        "deliveries",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("source", String(512), nullable=False),
        Column("way", String(16), nullable=False),
        Column("digest", String(71), nullable=False, index=True),
        Column("received_at", String(32), nullable=False),
        Column("rows", Integer, nullable=False),
        Column("accepted", Integer, nullable=False),
        Column("duplicate", Integer, nullable=False),
        Column("quarantined", Integer, nullable=False),
    )
    quarantined_rows = Table(
        "quarantined_rows",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("delivery_id", Integer, ForeignKey("deliveries.id"), nullable=False, index=True),
        Column("row", Integer, nullable=False),
        Column("byte_offset", BigInteger, nullable=False),
        Column("length", BigInteger, nullable=False),
        Column("reason", String(256), nullable=False),
        Column("event_id", String(64), nullable=True),
        Column("body", LargeBinary, nullable=False),
        Column("digest", String(71), nullable=False),
    )
    event_deliveries = Table(
        "event_deliveries",
        metadata,
        Column("event_id", String(64), ForeignKey("events.id"), primary_key=True),
        Column("delivery_id", Integer, ForeignKey("deliveries.id"), nullable=False, index=True),
    )
    return deliveries, quarantined_rows, event_deliveries


def _of_withdrawals(metadata: MetaData) -> tuple[Table, Table]:
    withdrawals = Table(
        "withdrawals",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("kind", String(16), nullable=False),
        Column("subject", String(256), nullable=False),
        Column("by", String(256), nullable=False),
        Column("reason", Text, nullable=False),
        Column("withdrawn_at", String(32), nullable=False),
        UniqueConstraint("kind", "subject", name="one_withdrawal_of_a_subject"),
    )
    erasures = Table(
        "erasures",
        metadata,
        Column("event_id", String(64), ForeignKey("events.id"), primary_key=True),
        Column("withdrawal_id", Integer, ForeignKey("withdrawals.id"), nullable=False),
        Column("erased_at", String(32), nullable=False),
    )
    return withdrawals, erasures


def _of_judgments(metadata: MetaData) -> tuple[Table, Table, Table, Table]:
    """What people decided about judgments, rubrics and annotators."""
    adjudications = Table(
        "adjudications",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("item", String(71), nullable=False),
        Column("rubric", String(128), nullable=False),
        Column("clause", String(64), nullable=False),
        Column("decision", String(16), nullable=False),
        Column("chosen", String(71), nullable=True),
        Column("by", String(256), nullable=False),
        Column("reason", Text, nullable=False),
        Column("decided_at", String(32), nullable=False),
        Index("adjudications_by_item", "rubric", "item"),
    )
    proposals = Table(
        "proposals",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("rubric", String(128), nullable=False),
        Column("clause", String(64), nullable=False),
        Column("opened_at", String(32), nullable=False),
        Column("adjudications", Text, nullable=False),
        Column("status", String(16), nullable=False),
        Column("by", String(256), nullable=True),
        Column("reason", Text, nullable=True),
        Column("closed_at", String(32), nullable=True),
        Column("cases", Text, nullable=True),
        Index("proposals_by_clause", "rubric", "clause"),
    )
    flags = Table(
        "flags",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("kind", String(32), nullable=False),
        Column("subject", String(256), nullable=False),
        Column("evidence", Text, nullable=False),
        Column("digest", String(71), nullable=False, unique=True),
        Column("raised_at", String(32), nullable=False),
    )
    flag_decisions = Table(
        "flag_decisions",
        metadata,
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("flag_id", Integer, ForeignKey("flags.id"), nullable=False, index=True),
        Column("decision", String(16), nullable=False),
        Column("by", String(256), nullable=False),
        Column("reason", Text, nullable=False),
        Column("decided_at", String(32), nullable=False),
    )
    return adjudications, proposals, flags, flag_decisions


def _of_service(metadata: MetaData) -> tuple[Table, Table]:
    api_keys = Table(
        "api_keys",
        metadata,
        Column("id", String(32), primary_key=True),
        Column("name", String(128), nullable=False),
        Column("salt", LargeBinary, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Column("scopes", String(128), nullable=False),
        Column("created_at", String(32), nullable=False),
        Column("revoked_at", String(32), nullable=True),
    )
    tasks = Table(
        "tasks",
        metadata,
        Column("id", String(64), primary_key=True),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", String(32), nullable=False),
        Column("delivery_id", Integer, ForeignKey("deliveries.id"), nullable=True),
    )
    return api_keys, tasks
