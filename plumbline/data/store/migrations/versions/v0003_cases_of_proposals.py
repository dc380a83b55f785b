"""The failures that people sent to a clause of the rubric, beside the decisions that asked for its
revision."""

from alembic import op
from sqlalchemy import Column, Text

revision = "0003"
down_revision = "0002"


def upgrade() -> None:
    """Add the column; proposals of before cite no failure."""
    op.add_column("proposals", Column("cases", Text, nullable=True))
