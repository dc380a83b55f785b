"""Demonstrations and preference pairs, with the certificates that let them into training."""

import json
from collections.abc import Iterable, Iterator, Mapping
from datetime import UTC, datetime
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.feedback import feedback
from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.lineage.partitions import FEEDBACK_BATCHES
from assets.lineage.versions import movement_of_version, pairs_in
from assets.policy import rubric
from assets.shown.check_groups import group_check_results, group_check_specs, sections
from assets.shown.flagging import annotators_table
from assets.shown.presentation import counts_table, drift_metadata, named_rows, pairs_table
from assets.vault import eval_vault, held_out
from plumbline.profile.profile import CONFIGS
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.kinds import (
    ANNOTATORS_FILE,
    DEMONSTRATIONS,
    DEMONSTRATIONS_FILE,
    EVAL_VAULT,
    PREFERENCE_DATA,
    RUBRIC_FILE,
    TRAIN_FILE,
)
from plumbline.schema.preferences import SPLITS, Demonstration, PreferencePair
from plumbline.schema.rubric import Rubric, load_rubric
from plumbline.schema.suites import Suite, load_suite
from plumbline.storage.jsonl import read_records, write_records
from resources.expectations import certify_frame
from resources.home import Home
from resources.snapshots import DatasetSnapshots

if TYPE_CHECKING:
    from plumbline.data.preferences.version import PreferenceVersion, VersionInputs


PROFILE = Home.from_environment().profile()
SUITES: dict[str, Suite] = {
    DEMONSTRATIONS: load_suite(CONFIGS / PROFILE.demonstrations.suite),
    PREFERENCE_DATA: load_suite(CONFIGS / PROFILE.preferences.suite),
}
"""The suite that certifies each kind of training data."""


@dg.asset(group_name="data", kinds={"jsonl"}, owners=OWNERS, code_version=CODE_VERSION)
def demonstrations(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Prompts with approved responses for supervised fine-tuning."""
    from plumbline.data.sources import load_demonstrations

    loaded = load_demonstrations(home.profile(), home.data_folder)
    with home.store().staging() as folder:
        rows = write_records(folder / DEMONSTRATIONS_FILE, loaded.rows)
        return publish(
            context,
            home,
            folder,
            parents={},
            facts={"rows": rows, "rows_in": loaded.rows_in, "rejected": loaded.rejected},
            metadata={
                "dagster/row_count": rows,
                "rows in": loaded.rows_in,
                "rejected": dg.MetadataValue.json(loaded.rejected),
            },
        )


@dg.asset(
    group_name="data",
    kinds={"jsonl", "dvc"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[feedback, rubric, eval_vault],
)
def preference_data(
    context: dg.AssetExecutionContext, home: Home, snapshots: DatasetSnapshots
) -> dg.MaterializeResult[Any]:
    """Pairs with margins from every admitted batch, less what people decided against; split by
    prompt group and versioned with DVC."""
    from plumbline.data.preferences.version import build_version

    parents = {name: upstream(context, home, name) for name in ("rubric", EVAL_VAULT)}
    batches, missing = _admitted(context, home)
    inputs = _version_inputs(home, batches, parents)
    with home.store().staging() as folder:
        version = build_version(inputs, home.profile(), folder)
        movement = movement_of_version(context, home, folder, inputs.rubric.label)
        dvc = snapshots.snapshot(folder)
        facts = _version_facts(inputs, version) | {"dvc": dvc, "not_admitted": missing}
        metadata = _version_metadata(folder, inputs, version, batches, missing)
        return publish(
            context,
            home,
            folder,
            parents=parents | {f"feedback:{name}": batch for name, batch in batches.items()},
            facts=facts | movement.facts(),
            metadata=metadata
            | drift_metadata(movement.drift, movement.shift)
            | named_rows(folder)
            | {"DVC version": dvc},
            dvc=dvc,
        )


def _version_inputs(
    home: Home, batches: Mapping[str, Upstream], parents: Mapping[str, Upstream]
) -> "VersionInputs":
    """What the version is made from: the batches, and what people decided about them until now."""
    from plumbline.data.preferences.recorded_decisions import decisions
    from plumbline.data.preferences.version import VersionInputs

    policy = Rubric.from_json((parents["rubric"].folder / RUBRIC_FILE).read_bytes())
    folders, rule = [batch.folder for batch in batches.values()], home.profile().annotators
    return VersionInputs(
        batches=folders,
        rubric=policy,
        decided=decisions(home.feedback(), folders, policy, rule, datetime.now(UTC)),
        held_out=_vault(home, parents[EVAL_VAULT], PREFERENCE_DATA),
        remembered=home.layout.root / "remembered",
    )


def _vault(home: Home, vault: Upstream, by: str) -> list[EvalPrompt]:
    return held_out(home, vault, purpose="contamination", by=by)


def _version_facts(inputs: "VersionInputs", version: "PreferenceVersion") -> dict[str, Any]:
    return {
        "rubric": inputs.rubric.label,
        "splits": version.splits,
        "counts": version.built.counts,
        "routes": version.built.routes,
        **inputs.decided.digests,
    }


def _version_metadata(
    folder: Path,
    inputs: "VersionInputs",
    version: "PreferenceVersion",
    batches: Mapping[str, Upstream],
    missing: list[str],
) -> dict[str, Any]:
    examples = list(islice(read_records(folder / TRAIN_FILE, PreferencePair), 5))
    return {
        "dagster/row_count": sum(version.splits.values()),
        "splits": counts_table("split", version.splits),
        "events and pairs": counts_table("what", version.built.counts),
        "routes": dg.MetadataValue.json(version.built.routes),
        "examples": pairs_table(examples),
        "batches": dg.MetadataValue.json(
            {partition: batch.artifact.tree for partition, batch in batches.items()}
        ),
        "batches not admitted": dg.MetadataValue.json(missing),
        "agreement": dg.MetadataValue.md(version.agreement.to_markdown()),
        "annotator checks": annotators_table(inputs.decided.annotators),
        "flags raised": dg.MetadataValue.json(list(inputs.decided.raised)),
    }


@dg.asset_check(
    asset=preference_data,
    description=(
        "Labels, the mix of the slices and the prompts are near those of the version before and of"
        " the deployment."
    ),
)
def drift(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Show how far the version moved; it warns, because a person has to say whether the move was
    meant."""
    from plumbline.data.quality.drift import DriftReport, PromptShift

    facts = upstream(context, home, PREFERENCE_DATA).artifact.facts
    moved = DriftReport.model_validate_json(json.dumps(facts["drift"]))
    shift = (
        None
        if facts["prompt_shift"] is None
        else PromptShift.model_validate_json(json.dumps(facts["prompt_shift"]))
    )
    return dg.AssetCheckResult(
        passed=moved.status != "drifted",
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join([*moved.reasons, *([] if shift is None else [shift.message])]),
        metadata={**drift_metadata(moved, shift), "previous version": facts["previous"] or "none"},
    )


@dg.asset_check(
    asset=preference_data,
    description=(
        "Over all batches, nobody disagrees with the others beyond chance; too few votes do not"
        " pass."
    ),
)
def annotators_of_all_batches(
    context: dg.AssetCheckExecutionContext, home: Home
) -> dg.AssetCheckResult:
    """Show what the check of the annotators found; what it flagged is held until a person
    decides."""
    from plumbline.data.screening.annotator_quality import AnnotatorReport

    report = AnnotatorReport.from_json(
        (upstream(context, home, PREFERENCE_DATA).folder / ANNOTATORS_FILE).read_bytes()
    )
    said = [
        f"{one.annotator}: {one.status}: {one.message}"
        for one in report.annotators
        if one.status != "pass"
    ]
    return dg.AssetCheckResult(
        passed=report.status == "pass",
        severity=dg.AssetCheckSeverity.WARN,
        description="\n".join(said) or f"{len(report.annotators)} annotators",
        metadata={"annotator checks": annotators_table(report)},
    )


def _admitted(
    context: dg.AssetExecutionContext, home: Home
) -> tuple[dict[str, Upstream], list[str]]:
    """Every materialized feedback batch by partition, and the registered partitions that have
    none."""
    admitted: dict[str, Upstream] = {}
    missing: list[str] = []
    for partition in sorted(context.instance.get_dynamic_partitions(FEEDBACK_BATCHES)):
        records_filter = dg.AssetRecordsFilter(asset_key=feedback.key, asset_partitions=[partition])
        if context.instance.fetch_materializations(records_filter, limit=1).records:
            admitted[partition] = upstream(context, home, "feedback", partition)
        else:
            missing.append(partition)
    if not admitted:
        raise dg.Failure(
            "no feedback batch is admitted; add feedback (`plumbline feedback import`) and"
            " materialize `feedback` first",
            allow_retries=False,
        )
    return admitted, missing


@dg.multi_asset_check(
    name="demonstrations_certificate",
    specs=group_check_specs(demonstrations, SUITES[DEMONSTRATIONS], [eval_vault, rubric]),
)
def demonstrations_certificate(
    context: dg.AssetCheckExecutionContext, home: Home
) -> Iterator[dg.AssetCheckResult]:
    """Great Expectations over the demonstrations; the result is the certificate that the training
    launcher requires."""
    from plumbline.data.quality.audit_frames import demonstration_frame

    data = upstream(context, home, DEMONSTRATIONS)
    vault = _vault(home, upstream(context, home, EVAL_VAULT), "demonstrations_certificate")
    rows = list(read_records(data.folder / DEMONSTRATIONS_FILE, Demonstration))
    frame = demonstration_frame(rows, vault, load_rubric(CONFIGS / home.profile().rubric))
    suite = SUITES[DEMONSTRATIONS]
    certificate = certify_frame(home.layout.store, data.artifact.tree, frame, suite)
    yield from group_check_results(
        demonstrations.key,
        suite,
        certificate,
        home.layout.store,
        sections(data.artifact.facts),
        rows,
    )


@dg.multi_asset_check(
    name="preference_data_certificate",
    specs=group_check_specs(preference_data, SUITES[PREFERENCE_DATA], [eval_vault, rubric]),
)
def preference_data_certificate(
    context: dg.AssetCheckExecutionContext, home: Home
) -> Iterator[dg.AssetCheckResult]:
    """Great Expectations over the pairs; the result is the certificate that the training launcher
    requires."""
    from plumbline.data.quality.audit_frames import preference_frame

    data = upstream(context, home, PREFERENCE_DATA)
    vault = _vault(home, upstream(context, home, EVAL_VAULT), "preference_data_certificate")
    splits: dict[str, Iterable[PreferencePair]] = {
        name: read_records(data.folder / f"{name}.jsonl", PreferencePair) for name in SPLITS
    }
    profile = home.profile()
    frame = preference_frame(
        splits, vault, load_rubric(CONFIGS / profile.rubric), profile.preferences.contamination
    )
    suite = SUITES[PREFERENCE_DATA]
    certificate = certify_frame(home.layout.store, data.artifact.tree, frame, suite)
    yield from group_check_results(
        preference_data.key,
        suite,
        certificate,
        home.layout.store,
        sections(data.artifact.facts),
        pairs_in(data.folder),
    )
