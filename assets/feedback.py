"""Feedback batches: what was admitted, and what was quarantined and why."""

from typing import Any

import dagster as dg

from assets.materialization import CODE_VERSION, OWNERS, publish, upstream
from assets.partitions import feedback_batches
from plumbline.config import CONFIGS
from plumbline.data.admission import admit
from plumbline.data.files import read_records, write_records
from plumbline.data.schema import FeedbackEvent, QuarantinedEvent
from plumbline.rubric import load_rubric
from resources.home import Home


@dg.asset(group_name="feedback", kinds={"jsonl"}, owners=OWNERS, code_version=CODE_VERSION, partitions_def=feedback_batches)
def feedback(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Events of one closed batch: accepted, or quarantined with every reason."""
    policy = load_rubric(CONFIGS / home.profile().rubric)
    events = list(home.feedback().batch_events(context.partition_key))
    admission = admit(events, policy)
    with home.store().staging() as folder:
        write_records(folder / "accepted.jsonl", admission.accepted)
        write_records(folder / "quarantined.jsonl", [QuarantinedEvent(id=event.id, reasons=reasons) for event, reasons in admission.quarantined])
        counts = {"events": len(events), "accepted": len(admission.accepted), "quarantined": len(admission.quarantined), "reasons": admission.reasons}
        return publish(
            context,
            home,
            folder,
            parents={},
            facts={"batch": context.partition_key, "rubric": policy.label, **counts},
            metadata={
                "dagster/row_count": len(admission.accepted),
                "events": len(events),
                "quarantined": len(admission.quarantined),
                "reasons": dg.MetadataValue.json(admission.reasons),
                "annotators": len({event.annotator for event in admission.accepted}),
            },
        )


@dg.asset_check(asset=feedback, description="Every event of the batch in the store is accepted or quarantined, none twice and none more.")
def every_event_counted(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Compare the files of the run's batch, or of every admitted batch, with the feedback store, event by event."""
    store = home.feedback()
    wrong: dict[str, str] = {}
    wanted = {context.partition_key} if context.has_partition_key else {batch.id for batch in store.batches()}
    batches = [b for b in store.batches() if b.id in wanted and context.instance.fetch_materializations(_of_batch(b.id), limit=1).records]
    for batch in batches:
        folder = upstream(context, home, "feedback", batch.id).folder
        expected = sorted(event.id for event in store.batch_events(batch.id))
        accepted = [event.id for event in read_records(folder / "accepted.jsonl", FeedbackEvent)]
        quarantined = [event.id for event in read_records(folder / "quarantined.jsonl", QuarantinedEvent)]
        if sorted(accepted + quarantined) != expected:
            wrong[batch.id] = f"{len(expected)} events in the store, {len(accepted)} accepted and {len(quarantined)} quarantined here"
    return dg.AssetCheckResult(passed=bool(batches) and not wrong, metadata={"batches": len(batches), "wrong": dg.MetadataValue.json(wrong)})


def _of_batch(partition: str) -> dg.AssetRecordsFilter:
    return dg.AssetRecordsFilter(asset_key=feedback.key, asset_partitions=[partition])
