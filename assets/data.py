"""Demonstrations, preference pairs and the eval vault, with the certificates that let them into training."""

from collections.abc import Iterator
from typing import Any

import dagster as dg

from assets.feedback import feedback
from assets.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.partitions import FEEDBACK_BATCHES
from assets.policy import rubric
from assets.presentation import counts_table, pairs_table
from plumbline.config import CONFIGS
from plumbline.data.audit_frames import demonstration_frame, preference_frame
from plumbline.data.files import read_records, write_records
from plumbline.data.preferences import build_pairs
from plumbline.data.schema import Demonstration, EvalPrompt, FeedbackEvent, PreferencePair
from plumbline.data.source import load_demonstrations, load_held_out_prompts
from plumbline.data.suite import Suite, load_suite
from plumbline.records import canonical_json
from plumbline.release.certificate import Certificate, CheckResult
from plumbline.rubric import load_rubric
from resources.expectations import certify_frame
from resources.home import Home
from resources.snapshots import DatasetSnapshots

PROFILE = Home.from_environment().profile()
SUITES: dict[str, Suite] = {
    "demonstrations": load_suite(CONFIGS / PROFILE.demonstrations.suite),
    "preference_data": load_suite(CONFIGS / PROFILE.preferences.suite),
}
"""The suite that certifies each kind of training data."""


@dg.asset(group_name="data", kinds={"jsonl"}, owners=OWNERS, code_version=CODE_VERSION)
def demonstrations(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Prompts with approved responses for supervised fine-tuning."""
    loaded = load_demonstrations(home.profile(), home.data_folder)
    with home.store().staging() as folder:
        rows = write_records(folder / "demonstrations.jsonl", loaded.rows)
        return publish(
            context,
            home,
            folder,
            parents={},
            facts={"rows": rows, "rows_in": loaded.rows_in, "rejected": loaded.rejected},
            metadata={"dagster/row_count": rows, "rows in": loaded.rows_in, "rejected": dg.MetadataValue.json(loaded.rejected)},
        )


@dg.asset(group_name="data", kinds={"jsonl"}, owners=OWNERS, code_version=CODE_VERSION)
def eval_vault(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """Held-out prompts by slice; training data that repeats one of them is set aside."""
    loaded = load_held_out_prompts(home.profile(), home.data_folder)
    slices = {name: sum(p.context.slice == name for p in loaded.rows) for name in sorted({p.context.slice for p in loaded.rows})}
    with home.store().staging() as folder:
        rows = write_records(folder / "prompts.jsonl", loaded.rows)
        return publish(
            context,
            home,
            folder,
            parents={},
            facts={"rows": rows, "rows_in": loaded.rows_in, "rejected": loaded.rejected, "slices": slices},
            metadata={"dagster/row_count": rows, "rejected": dg.MetadataValue.json(loaded.rejected), "slices": counts_table("slice", slices)},
        )


@dg.asset(group_name="data", kinds={"jsonl", "dvc"}, owners=OWNERS, code_version=CODE_VERSION, deps=[feedback, rubric, eval_vault])
def preference_data(context: dg.AssetExecutionContext, home: Home, snapshots: DatasetSnapshots) -> dg.MaterializeResult[Any]:
    """Pairs with margins from every admitted batch, split by prompt group and versioned with DVC."""
    profile = home.profile()
    parents = {"rubric": upstream(context, home, "rubric"), "eval_vault": upstream(context, home, "eval_vault")}
    batches, missing = _admitted(context, home)
    held_out = list(read_records(parents["eval_vault"].folder / "prompts.jsonl", EvalPrompt))
    events = [event for batch in batches.values() for event in read_records(batch.folder / "accepted.jsonl", FeedbackEvent)]
    built = build_pairs(events, load_rubric(CONFIGS / profile.rubric), profile.preferences, profile.seed, held_out)
    with home.store().staging() as folder:
        for split, pairs in built.splits.items():
            write_records(folder / f"{split}.jsonl", pairs)
        (folder / "set_aside.jsonl").write_bytes(b"".join(canonical_json({"id": one.id, "reason": one.reason}) for one in built.set_aside))
        version = snapshots.snapshot(folder)
        sizes = {split: len(pairs) for split, pairs in built.splits.items()}
        return publish(
            context,
            home,
            folder,
            parents=parents | {f"feedback:{partition}": batch for partition, batch in batches.items()},
            facts={"rubric": parents["rubric"].artifact.facts["label"], "splits": sizes, "counts": built.counts, "dvc": version, "not_admitted": missing},
            metadata={
                "dagster/row_count": sum(sizes.values()),
                "splits": counts_table("split", sizes),
                "events and pairs": counts_table("what", built.counts),
                "examples": pairs_table(built.splits["train"][:5]),
                "batches": dg.MetadataValue.json({partition: batch.artifact.tree for partition, batch in batches.items()}),
                "batches not admitted": dg.MetadataValue.json(missing),
                "DVC version": version,
            },
            dvc=version,
        )


def _admitted(context: dg.AssetExecutionContext, home: Home) -> tuple[dict[str, Upstream], list[str]]:
    """Every materialized feedback batch by partition, and the registered partitions that have none."""
    admitted: dict[str, Upstream] = {}
    missing: list[str] = []
    for partition in sorted(context.instance.get_dynamic_partitions(FEEDBACK_BATCHES)):
        records_filter = dg.AssetRecordsFilter(asset_key=feedback.key, asset_partitions=[partition])
        if context.instance.fetch_materializations(records_filter, limit=1).records:
            admitted[partition] = upstream(context, home, "feedback", partition)
        else:
            missing.append(partition)
    if not admitted:
        raise dg.Failure("no feedback batch is admitted; add feedback (`plumbline feedback import`) and materialize `feedback` first", allow_retries=False)
    return admitted, missing


def _check_specs(asset: dg.AssetsDefinition) -> list[dg.AssetCheckSpec]:
    suite = SUITES[asset.key.to_user_string()]
    return [
        dg.AssetCheckSpec(
            name=e.id,
            asset=asset,
            additional_deps=[eval_vault, rubric],
            description=e.reason,
            blocking=e.severity == "critical",
            metadata={"expectation": e.type, "suite": suite.name},
        )
        for e in suite.expectations
    ]


@dg.multi_asset_check(name="demonstrations_certificate", specs=_check_specs(demonstrations))
def demonstrations_certificate(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """Great Expectations over the demonstrations; the result is the certificate that the training launcher requires."""
    data = upstream(context, home, "demonstrations")
    vault = upstream(context, home, "eval_vault")
    frame = demonstration_frame(
        list(read_records(data.folder / "demonstrations.jsonl", Demonstration)),
        list(read_records(vault.folder / "prompts.jsonl", EvalPrompt)),
        load_rubric(CONFIGS / home.profile().rubric),
    )
    yield from _results(demonstrations.key, SUITES["demonstrations"], certify_frame(home.layout.store, data.artifact.tree, frame, SUITES["demonstrations"]))


@dg.multi_asset_check(name="preference_data_certificate", specs=_check_specs(preference_data))
def preference_data_certificate(context: dg.AssetCheckExecutionContext, home: Home) -> Iterator[dg.AssetCheckResult]:
    """Great Expectations over the pairs; the result is the certificate that the training launcher requires."""
    data = upstream(context, home, "preference_data")
    vault = upstream(context, home, "eval_vault")
    splits = {name: list(read_records(data.folder / f"{name}.jsonl", PreferencePair)) for name in ("train", "validation", "calibration")}
    frame = preference_frame(splits, list(read_records(vault.folder / "prompts.jsonl", EvalPrompt)), load_rubric(CONFIGS / home.profile().rubric))
    yield from _results(preference_data.key, SUITES["preference_data"], certify_frame(home.layout.store, data.artifact.tree, frame, SUITES["preference_data"]))


def _results(asset: dg.AssetKey, suite: Suite, certificate: Certificate) -> Iterator[dg.AssetCheckResult]:
    severities = {e.id: dg.AssetCheckSeverity.ERROR if e.severity == "critical" else dg.AssetCheckSeverity.WARN for e in suite.expectations}
    for check in certificate.checks:
        yield dg.AssetCheckResult(
            asset_key=asset,
            check_name=check.id,
            passed=check.status == "pass" and certificate.rows >= certificate.minimum_rows,
            severity=severities[check.id],
            description=check.message,
            metadata=_metadata(check, certificate),
        )


def _metadata(check: CheckResult, certificate: Certificate) -> dict[str, Any]:
    values: dict[str, Any] = {
        "status": check.status,
        "examined": check.examined,
        "unexpected": check.unexpected,
        "observed": check.observed,
        "certificate": certificate.digest(),
        "certificate verdict": certificate.verdict,
        "data": certificate.data,
    }
    if check.examples:
        values["failing rows"] = dg.MetadataValue.json(list(check.examples))
    return {name: value for name, value in values.items() if value is not None}
