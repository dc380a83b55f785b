"""Run requests: one run for each digest, whoever asks for it and however often."""

from datetime import datetime, timedelta
from typing import TYPE_CHECKING

import dagster as dg

if TYPE_CHECKING:
    from plumbline.data.store.events import FeedbackStore


LOST_AFTER = timedelta(minutes=5)
"""A request whose run never came into being is requested again after this time."""
ACTIVE = [
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
]
"""Statuses of a run that has not ended."""


def claim_run(
    instance: dg.DagsterInstance, store: "FeedbackStore", digest: str, tag: str, now: datetime
) -> bool:
    """Whether the caller is the one that requests the run for this digest.

    A run_key protects against the same sensor only, so the request is ours: one row for each
    digest, whoever asks. A request whose run never came into being (the daemon died in between) is
    given up after `LOST_AFTER`.
    """
    if store.claim(digest, tag, now):
        return True
    made = next((request for request in store.claims() if request.digest == digest), None)
    if made is None or made.age(now) < LOST_AFTER:
        return False
    if instance.get_run_records(dg.RunsFilter(tags={tag: digest}), limit=1):
        return False
    return store.release_claim(digest, made.claimed_at) and store.claim(digest, tag, now)


def active_run(instance: dg.DagsterInstance, job: str) -> str | None:
    """The start of the id of a run of this job that has not ended, or None."""
    records = instance.get_run_records(dg.RunsFilter(job_name=job, statuses=ACTIVE), limit=1)
    return records[0].dagster_run.run_id[:8] if records else None
