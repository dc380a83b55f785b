"""The feedback loop: files are collected, closed batches are admitted once, and enough new feedback
retrains the candidate recipe once."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING

import dagster as dg

from assets.lineage.partitions import feedback_batches
from dagster_project.automation.retraining import read_feedback, request_retraining
from dagster_project.automation.run_requests import claim_run
from dagster_project.jobs import align, ingest_feedback
from plumbline.data.store.batches import Batch
from plumbline.profile.data import BatchConfig
from plumbline.records import canonical_json, sha256
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.data.store.events import FeedbackStore

BATCH_TAG = "plumbline/batch"
"""Tag of an admitting run: digest of the batch, or of the batch and the rubric that it is admitted
under anew."""


@dg.sensor(minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING)
def collect_inbox(home: Home) -> dg.SkipReason:
    """Take the complete files of the inbox into the feedback store; the tick says what was taken
    in, refused and left waiting, and why."""
    from plumbline.data.store.inbox import collect

    inbox = home.layout.inbox
    collected = collect(inbox, home.feedback(), datetime.now(UTC))
    taken = [
        f"{delivery.source}: {delivery.accepted} accepted, {delivery.duplicate} duplicate,"
        f" {delivery.quarantined} quarantined"
        for delivery in collected.deliveries
    ]
    refused = [f"{name} was refused: {reason}" for name, reason in collected.refused.items()]
    waiting = [f"{name} waits: {reason}" for name, reason in collected.waiting.items()]
    return dg.SkipReason("; ".join([*taken, *refused, *waiting]) or f"the inbox {inbox} is empty")


@dg.sensor(
    job=ingest_feedback, minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING
)
def close_feedback_batches(
    context: dg.SensorEvaluationContext, home: Home
) -> dg.SensorResult | dg.SkipReason:
    """Close batches that are full or old enough, and request `feedback` for each of them exactly
    once; once more under each new rubric."""
    store = home.feedback()
    rule = home.profile().batches
    now = datetime.now(UTC)
    store.close_batches(rule, now)
    wanted = {
        digest: batch
        for digest, batch in batches_to_admit(context.instance, home).items()
        if claim_run(context.instance, store, digest, BATCH_TAG, now)
    }
    return _admission(wanted) if wanted else dg.SkipReason(_still_open(store, rule, now))


def _admission(batches: dict[str, Batch]) -> dg.SensorResult:
    """A partition and a run for each batch, by the digest that it is requested under."""
    return dg.SensorResult(
        dynamic_partitions_requests=[
            feedback_batches.build_add_request([batch.id for batch in batches.values()])
        ],
        run_requests=[
            dg.RunRequest(
                run_key=f"batch:{digest}", partition_key=batch.id, tags={BATCH_TAG: digest}
            )
            for digest, batch in batches.items()
        ],
    )


def _still_open(store: "FeedbackStore", rule: BatchConfig, now: datetime) -> str:
    count, oldest = store.open_events()
    if oldest is None:
        return f"no open feedback; {len(store.batches())} batches were requested before"
    age = (now - oldest).total_seconds() / 3600
    return (
        f"{count} of {rule.max_events} events needed to close a batch; the oldest waits {age:.1f}"
        f" of {rule.max_age_hours:g} h"
    )


@dg.sensor(job=align, minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING)
def retrain_on_feedback(
    context: dg.SensorEvaluationContext, home: Home
) -> dg.RunRequest | dg.SkipReason:
    """Request `align` for the candidate recipe once, when the retraining rule of the profile is
    met."""
    return request_retraining(context.instance, home, datetime.now(UTC))


def batches_to_admit(instance: dg.DagsterInstance, home: Home) -> dict[str, Batch]:
    """Closed batches that were never admitted, by their digest, and those that have to be admitted
    again, by the digest of why."""
    feedback = read_feedback(instance, home)
    wanted: dict[str, Batch] = {}
    for batch in home.feedback().batches():
        admitted = feedback.admitted.get(batch.id)
        if admitted is None:
            wanted[batch.digest] = batch
        elif batch.id in feedback.stale:
            why = {
                "batch": batch.digest,
                "rubric": feedback.rubric,
                "erased": admitted.tree if admitted.erased else None,
            }
            wanted[sha256(canonical_json(why))] = batch
    return wanted
