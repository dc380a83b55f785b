"""Deliveries, withdrawals, what people decide, and what the service keeps."""

from alembic import op
from sqlalchemy import (
    BigInteger,
    Column,
    ForeignKey,
    Integer,
    LargeBinary,
    String,
    Text,
    UniqueConstraint,
)

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Make the tables."""
    _deliveries()
    _withdrawals()
    _judgments()
    _service()


def _deliveries() -> None:
    op.create_table(
        "deliveries",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("source", String(512), nullable=False),
        Column("way", String(16), nullable=False),
        Column("digest", String(71), nullable=False),
        Column("received_at", String(32), nullable=False),
        Column("rows", Integer, nullable=False),
        Column("accepted", Integer, nullable=False),
        Column("duplicate", Integer, nullable=False),
        Column("quarantined", Integer, nullable=False),
    )
    op.create_index("ix_deliveries_digest", "deliveries", ["digest"])
    op.create_table(
        "quarantined_rows",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("delivery_id", Integer, ForeignKey("deliveries.id"), nullable=False),
        Column("row", Integer, nullable=False),
        Column("byte_offset", BigInteger, nullable=False),
        Column("length", BigInteger, nullable=False),
        Column("reason", String(256), nullable=False),
        Column("event_id", String(64), nullable=True),
        Column("body", LargeBinary, nullable=False),
        Column("digest", String(71), nullable=False),
    )
    op.create_index("ix_quarantined_rows_delivery_id", "quarantined_rows", ["delivery_id"])
    op.create_table(
        "event_deliveries",
        Column("event_id", String(64), ForeignKey("events.id"), primary_key=True),
        Column("delivery_id", Integer, ForeignKey("deliveries.id"), nullable=False),
    )
    op.create_index("ix_event_deliveries_delivery_id", "event_deliveries", ["delivery_id"])


def _withdrawals() -> None:
    op.create_table(
        "withdrawals",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("kind", String(16), nullable=False),
        Column("subject", String(256), nullable=False),
        Column("by", String(256), nullable=False),
        Column("reason", Text, nullable=False),
        Column("withdrawn_at", String(32), nullable=False),
        UniqueConstraint("kind", "subject", name="one_withdrawal_of_a_subject"),
    )
    op.create_table(
        "erasures",
        Column("event_id", String(64), ForeignKey("events.id"), primary_key=True),
        Column("withdrawal_id", Integer, ForeignKey("withdrawals.id"), nullable=False),
        Column("erased_at", String(32), nullable=False),
    )


def _judgments() -> None:
    op.create_table(
        "adjudications",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("item", String(71), nullable=False),
        Column("rubric", String(128), nullable=False),
        Column("clause", String(64), nullable=False),
        Column("decision", String(16), nullable=False),
        Column("chosen", String(71), nullable=True),
        Column("by", String(256), nullable=False),
        Column("reason", Text, nullable=False),
        Column("decided_at", String(32), nullable=False),
    )
    op.create_index("adjudications_by_item", "adjudications", ["rubric", "item"])
    op.create_table(
        "proposals",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("rubric", String(128), nullable=False),
        Column("clause", String(64), nullable=False),
        Column("opened_at", String(32), nullable=False),
        Column("adjudications", Text, nullable=False),
        Column("status", String(16), nullable=False),
        Column("by", String(256), nullable=True),
        Column("reason", Text, nullable=True),
        Column("closed_at", String(32), nullable=True),
    )
    op.create_index("proposals_by_clause", "proposals", ["rubric", "clause"])
    op.create_table(
        "flags",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("kind", String(32), nullable=False),
        Column("subject", String(256), nullable=False),
        Column("evidence", Text, nullable=False),
        Column("digest", String(71), nullable=False, unique=True),
        Column("raised_at", String(32), nullable=False),
    )
    op.create_table(
        "flag_decisions",
        Column("id", Integer, primary_key=True, autoincrement=True),
        Column("flag_id", Integer, ForeignKey("flags.id"), nullable=False),
        Column("decision", String(16), nullable=False),
        Column("by", String(256), nullable=False),
        Column("reason", Text, nullable=False),
        Column("decided_at", String(32), nullable=False),
    )
    op.create_index("ix_flag_decisions_flag_id", "flag_decisions", ["flag_id"])


def _service() -> None:
    op.create_table(
        "api_keys",
        Column("id", String(32), primary_key=True),
        Column("name", String(128), nullable=False),
        Column("salt", LargeBinary, nullable=False),
        Column("hash", LargeBinary, nullable=False),
        Column("scopes", String(128), nullable=False),
        Column("created_at", String(32), nullable=False),
        Column("revoked_at", String(32), nullable=True),
    )
    op.create_table(
        "tasks",
        Column("id", String(64), primary_key=True),
        Column("body", LargeBinary, nullable=False),
        Column("created_at", String(32), nullable=False),
        Column("delivery_id", Integer, ForeignKey("deliveries.id"), nullable=True),
    )
