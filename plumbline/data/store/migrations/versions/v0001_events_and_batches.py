"""Events, the batches that they are in, and claims."""

from alembic import op
from sqlalchemy import Column, ForeignKey, Integer, LargeBinary, String

revision = "0001"
down_revision = None


def upgrade() -> None:
    """Make the tables."""
    op.create_table(
        "batches",
        Column("id", String(64), primary_key=True),
        Column("digest", String(71), nullable=False, unique=True),
        Column("events", Integer, nullable=False),
        Column("closed_at", String(32), nullable=False),
    )
    op.create_table(
        "events",
        Column("id", String(64), primary_key=True),
        Column("body", LargeBinary, nullable=False),
        Column("received_at", String(32), nullable=False),
        Column("batch_id", String(64), ForeignKey("batches.id"), nullable=True),
    )
    op.create_index("events_by_batch", "events", ["batch_id", "received_at", "id"])
    op.create_table(
        "claims",
        Column("digest", String(71), primary_key=True),
        Column("claimant", String(256), nullable=False),
        Column("claimed_at", String(32), nullable=False),
    )
