"""Which accepted events may not be used any more: consent was withdrawn or has ended, or a flag
holds them until a person decides."""

from collections.abc import Collection, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Protocol

import polars
import polars as pl

from plumbline.data.batch_index.frames import events_at, read_index
from plumbline.data.consent.withdrawals import withdrawn
from plumbline.schema.feedback import Withdrawal

EXPIRED = "consent expired"


class Holding(Protocol):
    """What the flags hold; see `plumbline.data.screening.flags.Holds`."""

    @property
    def annotators(self) -> Collection[str]:
        """Annotators whose events are held."""

    @property
    def events(self) -> Collection[str]:
        """Events that are held by themselves."""

    def reason(self, event_id: str, annotator: str) -> str | None:
        """Why an event is held; None if it is not."""


def exclusions(
    batches: Sequence[Path], withdrawals: Sequence[Withdrawal], holds: Holding, now: datetime
) -> dict[str, str]:
    """Reasons by event id, for `build_preferences`; an event with several has the first of:
    withdrawn, expired, held.

    The index finds the few events that can be concerned; whether a withdrawal concerns one is
    decided on the event itself.

    Args:
        batches: Folders that `write_batch` filled.
        withdrawals: All withdrawals.
        holds: What is flagged.
        now: Consents that expire at this time or before have ended.
    """
    columns = [
        "event",
        "first",
        "annotator",
        "given_by",
        "consent_version",
        "redacted_from",
        "expires",
    ]
    rows = read_index(batches, columns)
    if not len(rows):
        return {}
    rows = rows.filter(pl.col("first"))
    held = rows.filter(
        pl.col("annotator").is_in(sorted(holds.annotators))
        | pl.col("event").is_in(sorted(holds.events))
    )
    reasons = {
        event: holds.reason(event, annotator)
        for event, annotator in held.select("event", "annotator").iter_rows()
    }
    ended = (now - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1)
    reasons |= dict.fromkeys(rows.filter(pl.col("expires") <= ended)["event"].to_list(), EXPIRED)
    concerned = rows.filter(_concerned(withdrawals))["event"].to_list()
    reasons |= {
        event.id: reason
        for event in events_at(batches, concerned)
        if (reason := withdrawn(event, withdrawals)) is not None
    }
    return {event: reason for event, reason in sorted(reasons.items()) if reason is not None}


def _concerned(withdrawals: Sequence[Withdrawal]) -> polars.Expr:
    subjects: dict[str, list[str]] = {"person": [], "event": [], "consent": []}
    for withdrawal in withdrawals:
        subjects[withdrawal.kind].append(withdrawal.subject)
    places: list[tuple[str, str]] = [
        ("annotator", "person"),
        ("given_by", "person"),
        ("event", "event"),
        ("redacted_from", "event"),
        ("consent_version", "consent"),
    ]
    matches = pl.lit(False)
    for column, kind in places:
        matches = matches | pl.col(column).is_in(subjects[kind]).fill_null(False)
    return matches
