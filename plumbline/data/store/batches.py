"""Closed batches of feedback, and the small records that the feedback store answers with."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import NamedTuple

from pydantic import ValidationError

from plumbline.errors import DataError
from plumbline.records import canonical_json
from plumbline.schema.feedback import FeedbackEvent


class Inserted(NamedTuple):
    """Ids of the events that were handed in, in their order: each offered event is in exactly one
    of the three."""

    accepted: tuple[str, ...]
    """New events, now in the store."""
    duplicate: tuple[str, ...]
    """Events that were there already, byte for byte, or that were erased and therefore do not come
    back."""
    conflicts: tuple[str, ...]
    """Events whose id is there with another body; nothing was overwritten."""


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
    return digest_of_sorted(sorted(set(event_ids)))[1]


def digest_of_sorted(event_ids: Iterable[str]) -> tuple[int, str]:
    """Number of ids, which come sorted and once each, and their `batch_digest`; holds one id at a
    time."""
    digest, count = hashlib.sha256(b"["), 0
    for identifier in event_ids:
        digest.update((b"," if count else b"") + canonical_json(identifier).rstrip(b"\n"))
        count += 1
    digest.update(b"]\n")
    return count, f"sha256:{digest.hexdigest()}"


def stored_event(identifier: str, body: bytes) -> FeedbackEvent:
    """The event in a row of the feedback store.

    Raises:
        DataError: If the body is not that of an event with this id.
    """
    try:
        event = FeedbackEvent.from_json(bytes(body))
    except ValidationError as error:
        raise DataError(
            f"event {identifier}: its stored body is damaged, or a Plumbline whose events had other"
            f" fields wrote it: {error.errors()[0]['msg']}. Restore the feedback store from a copy,"
            " or import the files into a new home"
        ) from error
    if event.id != identifier:
        raise DataError(
            f"event {identifier}: its stored body is that of event {event.id}; restore the feedback"
            " store from a copy"
        )
    return event
