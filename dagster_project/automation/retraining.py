"""One request to retrain the candidate recipe for each new state of the feedback, from the sensor
or from the schedule."""

from datetime import UTC, datetime

import dagster as dg

from assets.lineage.partitions import FEEDBACK_BATCHES
from dagster_project.automation.run_requests import active_run, claim_run
from dagster_project.jobs import align, ingest_feedback
from plumbline.data.retraining import AdmittedBatch, Feedback, TrainedOn, Wait, decide_retraining
from plumbline.lineage.tombstones import erased_file
from plumbline.profile.profile import CONFIGS
from plumbline.schema.kinds import ALIGNED_POLICY, PREFERENCE_DATA
from plumbline.schema.rubric import load_rubric
from plumbline.storage.artifacts import Artifact, ArtifactStore
from resources.home import Home

DATASET_TAG = "plumbline/feedback"
"""Tag of a retraining run: digest of the feedback that it starts from."""
REASON_TAG = "plumbline/reason"


def request_retraining(
    instance: dg.DagsterInstance, home: Home, now: datetime, *, scheduled: bool = False
) -> dg.RunRequest | dg.SkipReason:
    """A run request for the candidate recipe, to exactly one caller for each state of the feedback;
    else the reason in words.

    Args:
        instance: Knows the admitted batches, the newest policy and the runs.
        home: The profile, the feedback store and the artifact store.
        now: The time to judge the cooldown by.
        scheduled: True when the schedule asks.
    """
    profile = home.profile()
    feedback = read_feedback(instance, home)
    admitting = active_run(instance, ingest_feedback.name)
    if feedback.admitted and admitting:
        return dg.SkipReason(
            f"{len(feedback.admitted)} of {feedback.registered} batches are admitted; run"
            f" {admitting} is admitting more"
        )
    decision = decide_retraining(feedback, profile.retraining, now, scheduled=scheduled)
    if isinstance(decision, Wait):
        return dg.SkipReason(decision.reason)
    aligning = active_run(instance, align.name)
    if aligning:
        return dg.SkipReason(f"{decision.reason}; waits for run {aligning} to end")
    digest = feedback.digest(profile.digest())
    if not claim_run(instance, home.feedback(), digest, DATASET_TAG, now):
        return dg.SkipReason(f"{decision.reason}; {_requested_before(instance, digest)}")
    return dg.RunRequest(
        run_key=f"feedback:{digest}",
        partition_key=profile.candidate,
        tags={DATASET_TAG: digest, REASON_TAG: decision.reason},
    )


def read_feedback(instance: dg.DagsterInstance, home: Home) -> Feedback:
    """What is admitted, and what the newest policy of the candidate recipe was trained on."""
    from plumbline.data.consent.withdrawals import Withdrawals
    from plumbline.data.consent.withdrawals import digest as withdrawals_digest

    store = home.store()
    admitted: dict[str, AdmittedBatch] = {}
    registered = sorted(instance.get_dynamic_partitions(FEEDBACK_BATCHES))
    for partition in registered:
        newest = _newest(instance, store, "feedback", partition)
        if newest is not None:
            artifact = newest[0]
            erased = erased_file(store.root, artifact.tree).exists()
            admitted[partition] = AdmittedBatch(
                artifact.tree, int(artifact.facts["accepted"]), artifact.facts["rubric"], erased
            )
    return Feedback(
        admitted=admitted,
        rubric=load_rubric(CONFIGS / home.profile().rubric).label,
        withdrawals=withdrawals_digest(Withdrawals(home.feedback().database).all()),
        registered=len(registered),
        trained=_trained_on(instance, store, home.profile().candidate),
    )


def _trained_on(
    instance: dg.DagsterInstance, store: ArtifactStore, recipe: str
) -> TrainedOn | None:
    from plumbline.data.consent.withdrawals import digest as withdrawals_digest

    newest = _newest(instance, store, ALIGNED_POLICY, recipe)
    if newest is None:
        return None
    policy, at = newest
    data = store.manifest(policy.parents[PREFERENCE_DATA])
    batches = {
        role.removeprefix("feedback:"): store.manifest(batch).tree
        for role, batch in data.parents.items()
        if role.startswith("feedback:")
    }
    # Data from before withdrawals were recorded was built without any.
    return TrainedOn(
        batches, data.facts["rubric"], data.facts.get("withdrawals", withdrawals_digest(())), at
    )


def newest_digest(instance: dg.DagsterInstance, asset: str, partition: str) -> str | None:
    """Artifact digest of the newest materialization that a run made, or None."""
    newest = _newest_record(instance, asset, partition)
    return None if newest is None else newest[0]


def _newest(
    instance: dg.DagsterInstance, store: ArtifactStore, asset: str, partition: str
) -> tuple[Artifact, datetime] | None:
    """Manifest and time of the newest materialization that a run made."""
    newest = _newest_record(instance, asset, partition)
    return None if newest is None else (store.manifest(newest[0]), newest[1])


def _newest_record(
    instance: dg.DagsterInstance, asset: str, partition: str
) -> tuple[str, datetime] | None:
    wanted = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    for record in instance.fetch_materializations(wanted, limit=1).records:
        event = record.asset_materialization
        digest = None if event is None else event.metadata.get("artifact")
        if record.run_id and isinstance(digest, dg.TextMetadataValue) and digest.text is not None:
            return digest.text, datetime.fromtimestamp(record.timestamp, UTC)
    return None


def _requested_before(instance: dg.DagsterInstance, digest: str) -> str:
    """What became of the run that was requested for this state of the feedback, with the gate that
    stopped it."""
    records = instance.get_run_records(dg.RunsFilter(tags={DATASET_TAG: digest}), limit=1)
    if not records:
        return (
            f"it was requested before, and its run tagged {DATASET_TAG}={digest} is about to start"
        )
    run = records[0].dagster_run
    message = f"run {run.run_id[:8]} was requested for it before and is {run.status.value}"
    if run.status is not dg.DagsterRunStatus.FAILURE:
        return message
    checks = instance.get_records_for_run(
        run.run_id, of_type=dg.DagsterEventType.ASSET_CHECK_EVALUATION, limit=200
    ).records
    failed = [
        check
        for record in checks
        if (check := record.event_log_entry.asset_check_evaluation) is not None and not check.passed
    ]
    names = ", ".join(f"{check.asset_key.to_user_string()}: {check.check_name}" for check in failed)
    return f"{message} at the gate {names}" if names else f"{message}; its page says where"
