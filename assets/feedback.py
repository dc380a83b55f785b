"""Feedback batches: what was admitted, what was quarantined and why, and what a person should look
at."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.lineage.materialization import CODE_VERSION, OWNERS, publish, upstream
from assets.lineage.partitions import feedback_batches
from assets.shown.flagging import annotators_table
from assets.shown.presentation import counts_table
from plumbline.data.screening.admission import FINDINGS_FILE, PERSONAL_DATA, ScreenedEvent
from plumbline.errors import ArtifactNotFound
from plumbline.lineage.newest import newest_artifact
from plumbline.profile.profile import CONFIGS
from plumbline.schema.kinds import REFERENCE_POLICY
from plumbline.schema.rubric import load_rubric
from plumbline.storage.jsonl import read_records
from plumbline.text.control_tokens import template_tokens
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.data.feedback_batch import FeedbackBatch


NAMED = 10
"""Events that a check names in its metadata."""


@dg.asset(
    group_name="feedback",
    kinds={"jsonl", "parquet"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    partitions_def=feedback_batches,
)
def feedback(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Events of one closed batch: accepted, or quarantined with every reason; its annotators are
    checked, and what is found is flagged for a person."""
    from plumbline.data.feedback_batch import BatchInputs, build_batch

    profile, batch = home.profile(), context.partition_key
    policy, tokens = load_rubric(CONFIGS / profile.rubric), sorted(_template_tokens(home))
    inputs = BatchInputs(home.feedback(), batch, policy, tokens, datetime.now(UTC))
    with home.store().staging() as folder:
        built = build_batch(inputs, profile, folder)
        return publish(
            context,
            home,
            folder,
            parents={},
            facts={
                "batch": batch,
                "rubric": policy.label,
                "control_tokens": tokens,
                **built.counts.facts(),
            },
            metadata=_batch_metadata(built),
        )


def _batch_metadata(built: "FeedbackBatch") -> dict[str, Any]:
    counts = built.counts
    found = dict(sorted(counts.findings.items()))
    return {
        "dagster/row_count": counts.accepted,
        "events": counts.events,
        "quarantined": counts.quarantined,
        "redacted": counts.redacted,
        "reasons": dg.MetadataValue.json(dict(counts.reasons)),
        "findings in the text": counts_table("finding", found),
        "annotators": built.indexed_annotators,
        "agreement": dg.MetadataValue.md(built.agreement.to_markdown()),
        "annotator checks": annotators_table(built.annotators),
        "trigger words": built.triggers.message,
        "flags raised": dg.MetadataValue.json(list(built.flags)),
    }


def _template_tokens(home: Home) -> frozenset[str]:
    """Control tokens of the tokenizer that the newest reference policy of the profile has; none
    before there is one."""
    try:
        digest, _ = newest_artifact(home.store(), REFERENCE_POLICY, home.profile().digest())
    except ArtifactNotFound:
        return frozenset()
    return template_tokens(home.store().open(digest, kind=REFERENCE_POLICY)[0] / "model")


@dg.asset_check(
    asset=feedback,
    description=(
        "Every event of the batch in the store is accepted or quarantined, none twice and none"
        " more."
    ),
)
def every_event_counted(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Compare the files of the run's batch, or of every admitted batch, with the feedback store,
    event by event."""
    from plumbline.data.feedback_batch import miscounted

    batches, store = _batches(context, home), home.feedback()
    wrong = {
        batch: why
        for batch, folder in batches.items()
        if (why := miscounted(folder, store.batch_events(batch))) is not None
    }
    return dg.AssetCheckResult(
        passed=bool(batches) and not wrong,
        metadata={"batches": len(batches), "wrong": dg.MetadataValue.json(wrong)},
    )


@dg.asset_check(
    asset=feedback,
    description=(
        "Nobody disagrees with the others beyond chance, and no word goes with disagreement; too"
        " few votes do not pass."
    ),
)
def annotators(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Show what the checks of the annotators found in the batch; what they flagged is held until a
    person decides."""
    from plumbline.data.feedback_batch import TRIGGERS_FILE
    from plumbline.data.screening.annotator_quality import AnnotatorReport
    from plumbline.data.screening.trigger_words import TriggerReport
    from plumbline.schema.kinds import ANNOTATORS_FILE

    said: list[str] = []
    for batch, folder in _batches(context, home).items():
        report = AnnotatorReport.from_json((folder / ANNOTATORS_FILE).read_bytes())
        triggers = TriggerReport.from_json((folder / TRIGGERS_FILE).read_bytes())
        said += [
            f"{batch}: {one.annotator}: {one.status}: {one.message}"
            for one in report.annotators
            if one.status != "pass"
        ]
        said += (
            [f"{batch}: trigger words: {triggers.status}: {triggers.message}"]
            if triggers.status != "pass"
            else []
        )
    return _warning(said)


@dg.asset_check(
    asset=feedback,
    description="No personal data were found; what becomes of them is the rubric's `pii`.",
)
def personal_data(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Name the events with personal data, and the kinds; never the data."""
    return _found(_batches(context, home).values(), lambda kind: kind.startswith(PERSONAL_DATA))


@dg.asset_check(
    asset=feedback,
    description=(
        "No text holds characters that hide or reorder others, markup, formulas or control tokens."
    ),
)
def hostile_text(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Name the events with suspicious text, and the kinds; the text is kept as it is."""
    return _found(_batches(context, home).values(), lambda kind: not kind.startswith(PERSONAL_DATA))


def _found(folders: Iterable[Path], wanted: Callable[[str], bool]) -> dg.AssetCheckResult:
    kinds = Counter[str]()
    events: list[dict[str, Any]] = []
    for folder in folders:
        for screened in read_records(folder / FINDINGS_FILE, ScreenedEvent):
            found = {finding.kind for finding in screened.findings if wanted(finding.kind)}
            kinds.update(found)
            if found and len(events) < NAMED:
                events.append({"event": screened.id, "found": sorted(found)})
    said = [f"{kind}: {count} events" for kind, count in sorted(kinds.items())]
    return _warning(said, {"failing rows": dg.MetadataValue.json(events)} if events else {})


def _warning(said: Sequence[str], metadata: Mapping[str, Any] | None = None) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        passed=not said,
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(said),
        metadata=metadata or {},
    )


def _batches(context: dg.AssetCheckExecutionContext, home: Home) -> dict[str, Path]:
    """Folders of the run's batch, or of every admitted batch."""
    wanted = (
        {context.partition_key}
        if context.has_partition_key
        else {batch.id for batch in home.feedback().batches()}
    )
    admitted = [
        batch
        for batch in sorted(wanted)
        if context.instance.fetch_materializations(_of_batch(batch), limit=1).records
    ]
    return {batch: upstream(context, home, "feedback", batch).folder for batch in admitted}


def _of_batch(partition: str) -> dg.AssetRecordsFilter:
    return dg.AssetRecordsFilter(asset_key=feedback.key, asset_partitions=[partition])
