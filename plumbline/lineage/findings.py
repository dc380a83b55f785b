"""What an audit can find, and the seam through which other systems confirm what the store says."""

from collections.abc import Callable

from pydantic import Field

from plumbline.lineage.materializations import MaterializationRecord
from plumbline.records import Record


class Finding(Record):
    """One thing that is missing or disagrees, with what to do about it."""

    artifact: str = Field(description="digest of the artifact that it concerns")
    what: str = Field(description="the file, field or record, and what is wrong with it")
    expected: str | None
    found: str | None = Field(description="null when nothing was found")
    remedy: str


Witness = Callable[[MaterializationRecord], list[Finding]]
"""Asks another system whether it knows a materialization; an empty list means that it confirms
every detail it can see."""

RESTORE = (
    "restore the store from a copy; nothing that descends from these bytes can be relied on until"
    " then"
)
