"""Closed batches of feedback, and the small records that the feedback store answers with."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import Field

from plumbline.records import Record, canonical_json, sha256


class Receipt(Record):
    """What became of the events that were handed in: the three counts add up to their number."""

    accepted: int = Field(ge=0, description="new events, now in the store")
    duplicate: int = Field(ge=0, description="events that were there already, byte for byte")
    conflict: int = Field(ge=0, description="events whose id is there with another body: the store or the sender is corrupt; nothing was overwritten")


@dataclass(frozen=True)
class Batch:
    """A closed set of events that never changes."""

    id: str
    """Identifier; the partition of the batch has the same name."""
    digest: str
    """Digest of the sorted event ids, which are digests of their content."""
    events: int
    closed_at: datetime


@dataclass(frozen=True)
class Claim:
    """Who took on the work for a digest."""

    digest: str
    claimant: str
    claimed_at: datetime

    def age(self, now: datetime) -> timedelta:
        """Time since the claim."""
        return now - self.claimed_at


class OpenEvents(NamedTuple):
    """Events that are in no batch yet."""

    events: int
    oldest: datetime | None
    """When the oldest was received; None when there is none."""


def batch_digest(event_ids: Iterable[str]) -> str:
    """Digest of a set of events: SHA-256 of the canonical JSON of their sorted ids."""
    return sha256(canonical_json(sorted(set(event_ids))))
