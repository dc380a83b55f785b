"""How assets hand manifests to each other: read the newest upstream artifact, publish the own
one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.storage.artifacts import Artifact
from plumbline.storage.code_identity import code_identity, source_digest
from resources.home import Home

OWNERS = ["team:alignment"]
CODE_VERSION = source_digest("plumbline", "assets", "resources").removeprefix("sha256:")[:12]


def own_partition(context: dg.AssetExecutionContext) -> str | None:
    """Partition of the running asset; a run for one recipe also materializes assets that have no
    partitions."""
    return context.partition_key if context.assets_def.partitions_def is not None else None


@dataclass(frozen=True)
class Upstream:
    """The materialization that an asset builds on."""

    digest: str
    artifact: Artifact
    folder: Path
    partition: str | None


def upstream(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext,
    home: Home,
    asset: str,
    partition: str | None = None,
) -> Upstream:
    """The newest materialization of an asset, with its bytes verified.

    Raises:
        dg.Failure: If there is none, or if it was reported from outside a run.
        DigestMismatch: If its bytes changed since.
    """
    where = asset if partition is None else f"{asset}[{partition}]"
    records_filter = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(asset), asset_partitions=None if partition is None else [partition]
    )
    found = context.instance.fetch_materializations(records_filter, limit=1).records
    if not found:
        raise dg.Failure(
            f"{where} was never materialized; materialize it first", allow_retries=False
        )
    materialization = found[0].asset_materialization
    digest = None if materialization is None else materialization.metadata.get("artifact")
    if (
        not found[0].run_id
        or materialization is None
        or not isinstance(digest, dg.TextMetadataValue)
        or digest.text is None
    ):
        # Anyone who reaches the REST endpoint can report a materialization; only a run of ours
        # writes a manifest.
        raise dg.Failure(
            f"{where}: its newest materialization was reported from outside a run; materialize it"
            " again",
            allow_retries=False,
        )
    folder, artifact = home.store().open(digest.text, kind=ARTIFACT_KINDS[asset])
    return Upstream(digest=digest.text, artifact=artifact, folder=folder, partition=partition)


ARTIFACT_KINDS: Mapping[str, str] = {
    "rubric": "rubric",
    "feedback": "feedback_batch",
    "demonstrations": "demonstrations",
    "preference_data": "preference_data",
    "eval_vault": "eval_vault",
    "reference_policy": "reference_policy",
    "reward_model": "reward_model",
    "aligned_policy": "aligned_policy",
    "judges": "judges",
    "refusal_detector": "refusal_detector",
    "red_team": "red_team_campaign",
    "guardrail": "guardrail",
    "held_out_evals": "held_out_evals",
    "release_decision": "release_decision",
    "release_report": "release_report",
    "released_policy": "release",
}
"""Asset name to the kind of its artifact."""


def publish(
    context: dg.AssetExecutionContext,
    home: Home,
    folder: Path,
    *,
    parents: Mapping[str, Upstream],
    facts: dict[str, Any],
    metadata: dict[str, Any],
    dvc: str | None = None,
) -> dg.MaterializeResult[Any]:
    """Publish a staged folder as the artifact of the running asset, and describe it to Dagster."""
    kind = ARTIFACT_KINDS[context.asset_key.to_user_string()]
    digest, artifact = home.store().publish(
        folder,
        kind=kind,
        config=home.profile().digest(),
        code=code_identity(),
        parents={role: parent.digest for role, parent in parents.items()},
        facts=facts,
    )
    return materialized(context, home, digest, artifact, metadata=metadata, dvc=dvc)


def materialized(
    context: dg.AssetExecutionContext,
    home: Home,
    digest: str,
    artifact: Artifact,
    *,
    metadata: dict[str, Any],
    spec: str | None = None,
    mlflow_run: str | None = None,
    dvc: str | None = None,
    cached: bool = False,
) -> dg.MaterializeResult[Any]:
    """Record the production of a published artifact, and the materialization that shows it in
    Dagster."""
    partition = own_partition(context)
    production = MaterializationRecord(
        artifact=digest,
        kind=artifact.kind,
        asset=context.asset_key.to_user_string(),
        partition=partition,
        dagster_run=context.run.run_id,
        data_version=artifact.tree,
        spec=spec,
        mlflow_run=mlflow_run,
        dvc=dvc,
        cached=cached,
        person=home.person,
    )
    write_materialization(home.layout.store, production)
    parents = {
        role: dg.MetadataValue.text(parent)
        for role, parent in artifact.parents.items()
        if not role.startswith("feedback:")
    }
    return dg.MaterializeResult(
        data_version=dg.DataVersion(artifact.tree),
        metadata={
            **metadata,
            "artifact": dg.MetadataValue.text(digest),
            "profile": home.profile().name,
            "parents": dg.MetadataValue.json({role: value.text for role, value in parents.items()}),
            "files": dg.MetadataValue.path(
                str(home.layout.store / "trees" / artifact.tree.removeprefix("sha256:"))
            ),
        },
    )
