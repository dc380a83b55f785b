"""How assets hand manifests to each other: read the newest upstream artifact, publish the own
one."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg

from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    DEMONSTRATIONS,
    EVAL_VAULT,
    FEEDBACK_BATCH,
    HELD_OUT_EVALS,
    PREFERENCE_DATA,
    RED_TEAM_CAMPAIGN,
    REFERENCE_POLICY,
    REFUSAL_DETECTOR,
    RELEASE_DECISION,
    RELEASE_REPORT,
    RELEASED_POLICY,
    REWARD_MODEL,
)
from plumbline.storage.artifacts import Artifact
from plumbline.storage.code_identity import code_identity, source_digest
from resources.home import Home
from resources.launch.launcher import JobOutcome

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
    return opened(home, digest.text, ARTIFACT_KINDS[asset], partition)


def opened(home: Home, digest: str, kind: str, partition: str | None = None) -> Upstream:
    """An artifact that a manifest names, with its bytes verified.

    Raises:
        ArtifactNotFound: If manifest or files are missing.
        DigestMismatch: If any byte differs, or the artifact is of another kind.
    """
    folder, artifact = home.store().open(digest, kind=kind)
    return Upstream(digest=digest, artifact=artifact, folder=folder, partition=partition)


ARTIFACT_KINDS: Mapping[str, str] = {
    "rubric": "rubric",
    "feedback": FEEDBACK_BATCH,
    DEMONSTRATIONS: DEMONSTRATIONS,
    PREFERENCE_DATA: PREFERENCE_DATA,
    EVAL_VAULT: EVAL_VAULT,
    REFERENCE_POLICY: REFERENCE_POLICY,
    REWARD_MODEL: REWARD_MODEL,
    ALIGNED_POLICY: ALIGNED_POLICY,
    "judges": "judges",
    REFUSAL_DETECTOR: REFUSAL_DETECTOR,
    "red_team": RED_TEAM_CAMPAIGN,
    "guardrail": "guardrail",
    HELD_OUT_EVALS: HELD_OUT_EVALS,
    RELEASE_DECISION: RELEASE_DECISION,
    RELEASE_REPORT: RELEASE_REPORT,
    RELEASED_POLICY: "release",
}
"""Asset name to the kind of its artifact."""


def store_artifact(
    context: dg.AssetExecutionContext,
    home: Home,
    folder: Path,
    *,
    parents: Mapping[str, Upstream],
    facts: dict[str, Any],
) -> tuple[str, Artifact]:
    """Publish a staged folder as the artifact of the running asset; returns digest and manifest."""
    return home.store().publish(
        folder,
        kind=ARTIFACT_KINDS[context.asset_key.to_user_string()],
        config=home.profile().digest(),
        code=code_identity(),
        parents={role: parent.digest for role, parent in parents.items()},
        facts=facts,
    )


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
    digest, artifact = store_artifact(context, home, folder, parents=parents, facts=facts)
    return materialized(context, home, digest, artifact, metadata=metadata, dvc=dvc)


def materialized(
    context: dg.AssetExecutionContext,
    home: Home,
    digest: str,
    artifact: Artifact,
    *,
    metadata: dict[str, Any],
    job: JobOutcome | None = None,
    dvc: str | None = None,
) -> dg.MaterializeResult[Any]:
    """Record the production of a published artifact, and the materialization that shows it in
    Dagster; `job` is the training or sampling behind it."""
    partition = own_partition(context)
    production = MaterializationRecord(
        artifact=digest,
        kind=artifact.kind,
        asset=context.asset_key.to_user_string(),
        partition=partition,
        dagster_run=context.run.run_id,
        data_version=artifact.tree,
        spec=None if job is None else job.spec,
        mlflow_run=None if job is None else job.mlflow_run,
        dvc=dvc,
        cached=job is not None and job.cached,
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
