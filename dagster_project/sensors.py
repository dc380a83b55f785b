"""The feedback loop: closed batches are admitted once, and new admitted batches retrain the candidate recipe once."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import dagster as dg

from assets.partitions import FEEDBACK_BATCHES, feedback_batches
from dagster_project.jobs import align, ingest_feedback
from plumbline.data.store import FeedbackStore
from plumbline.records import canonical_json, sha256
from resources.home import Home

LOST_AFTER = timedelta(minutes=5)
"""A claimed request whose run never came into being is requested again after this time."""
BATCH_TAG = "plumbline/batch"
DATASET_TAG = "plumbline/feedback"


@dg.sensor(job=ingest_feedback, minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING)
def close_feedback_batches(context: dg.SensorEvaluationContext, home: Home) -> dg.SensorResult | dg.SkipReason:
    """Close batches that are full or old enough, and request `feedback` for each of them exactly once."""
    store = home.feedback()
    rule = home.profile().batches
    now = datetime.now(UTC)
    store.close_batches(rule, now)
    wanted = [batch for batch in store.batches() if _claim(context.instance, store, batch.digest, BATCH_TAG, now)]
    if wanted:
        return dg.SensorResult(
            dynamic_partitions_requests=[feedback_batches.build_add_request([batch.id for batch in wanted])],
            run_requests=[dg.RunRequest(run_key=f"batch:{batch.digest}", partition_key=batch.id, tags={BATCH_TAG: batch.digest}) for batch in wanted],
        )
    count, oldest = store.open_events()
    if oldest is None:
        return dg.SkipReason(f"no open feedback; {len(store.batches())} batches were requested before")
    age = (now - oldest).total_seconds() / 3600
    return dg.SkipReason(f"{count} of {rule.max_events} events needed to close a batch; the oldest waits {age:.1f} of {rule.max_age_hours:g} h")


@dg.sensor(job=align, minimum_interval_seconds=10, default_status=dg.DefaultSensorStatus.RUNNING)
def retrain_on_feedback(context: dg.SensorEvaluationContext, home: Home) -> dg.SensorResult | dg.SkipReason:
    """Request `align` for the candidate recipe once for each new set of admitted batches."""
    instance = context.instance
    admitted = dict(admitted_batches(instance))
    registered = instance.get_dynamic_partitions(FEEDBACK_BATCHES)
    if not admitted:
        return dg.SkipReason(f"no feedback batch is admitted yet; {len(registered)} registered")
    waiting = sorted(set(registered) - set(admitted))
    running = instance.get_run_records(dg.RunsFilter(job_name=ingest_feedback.name, statuses=_ACTIVE), limit=1)
    if running:
        return dg.SkipReason(f"{len(admitted)} of {len(registered)} batches are admitted; run {running[0].dagster_run.run_id[:8]} is admitting more")
    digest = sha256(canonical_json({"batches": admitted, "profile": home.profile().digest()}))
    if admitted == _batches_of_newest_dataset(instance):
        return dg.SkipReason(f"all {len(admitted)} admitted batches are in the newest preference data")
    active = instance.get_run_records(dg.RunsFilter(job_name=align.name, statuses=_ACTIVE), limit=1)
    if active:
        return dg.SkipReason(f"new feedback waits for run {active[0].dagster_run.run_id[:8]} to end")
    now = datetime.now(UTC)
    if not _claim(instance, home.feedback(), digest, DATASET_TAG, now):
        return dg.SkipReason(f"this set of {len(admitted)} batches was requested before; see the run tagged {DATASET_TAG}={digest}")
    if waiting:
        context.log.info("Not admitted and so not in the data: %s", ", ".join(waiting))
    request = dg.RunRequest(run_key=f"feedback:{digest}", partition_key=home.profile().candidate, tags={DATASET_TAG: digest})
    return dg.SensorResult(run_requests=[request])


_ACTIVE = [dg.DagsterRunStatus.QUEUED, dg.DagsterRunStatus.NOT_STARTED, dg.DagsterRunStatus.STARTING, dg.DagsterRunStatus.STARTED]


def admitted_batches(instance: dg.DagsterInstance) -> Iterator[tuple[str, str]]:
    """(partition, data version) of the newest materialization of every admitted batch, sorted by partition."""
    for partition in sorted(instance.get_dynamic_partitions(FEEDBACK_BATCHES)):
        records_filter = dg.AssetRecordsFilter(asset_key=dg.AssetKey("feedback"), asset_partitions=[partition])
        for record in instance.fetch_materializations(records_filter, limit=1).records:
            materialization = record.asset_materialization
            if record.run_id and materialization is not None:
                yield partition, (materialization.tags or {})["dagster/data_version"]


def _batches_of_newest_dataset(instance: dg.DagsterInstance) -> object:
    records = instance.fetch_materializations(dg.AssetKey("preference_data"), limit=1).records
    materialization = records[0].asset_materialization if records else None
    batches = None if materialization is None else materialization.metadata.get("batches")
    return batches.value if isinstance(batches, dg.JsonMetadataValue) else None


def _claim(instance: dg.DagsterInstance, store: FeedbackStore, digest: str, tag: str, now: datetime) -> bool:
    """Whether the caller is the one that requests the run for this digest.

    A run_key protects against the same sensor only, so the claim is ours: one row for each digest, whoever asks. A claim whose run never
    came into being (the daemon died in between) is given up after `LOST_AFTER`.
    """
    if store.claim(digest, tag, now):
        return True
    claim = next((claim for claim in store.claims() if claim.digest == digest), None)
    if claim is None or claim.age(now) < LOST_AFTER:
        return False
    if instance.get_run_records(dg.RunsFilter(tags={tag: digest}), limit=1):
        return False
    return store.release_claim(digest, claim.claimed_at) and store.claim(digest, tag, now)
