"""Dagster and MLflow as witnesses of a lineage: both are only read, and neither is trusted beyond
confirming what the store says."""

import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import dagster as dg

from plumbline.errors import ArtifactError
from plumbline.lineage.findings import Finding, Witness
from plumbline.lineage.materializations import MaterializationRecord, materialization_file
from plumbline.storage.artifacts import Artifact, ArtifactStore

PAGE = 500
CHANGED = (
    "find out who changed the record, then materialize the asset again: identical bytes keep their"
    " digest and get a new record"
)
UNREADABLE = (
    "restore it, point --home to the folder that holds it, or pass --offline to verify the store"
    " alone"
)


def cross_check_dagster(*instances: dg.DagsterInstance, unread: Sequence[str] = ()) -> Witness:
    """Asks Dagster whether a run of its own materialized the artifact.

    A production is confirmed when one of the instances (one for each profile: the store is shared)
    knows the run, and that run has a materialization of the asset and partition with the same data
    version and artifact. A materialization that somebody reported from outside a run never
    confirms; if it claims the artifact, it is a finding.

    Args:
        instances: Where runs are looked for.
        unread: Sentences about records that could not be opened; a run that no instance knows may
            be in them.
    """

    def confirm(production: MaterializationRecord) -> list[Finding]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            reported = [
                finding for instance in instances for finding in _reported(instance, production)
            ]
            known = next(
                (instance for instance in instances if instance.has_run(production.dagster_run)),
                None,
            )
            if known is not None:
                return reported + _materialized(known, production)
        except (SQLAlchemyError, dg.DagsterError) as error:
            return [
                _finding(
                    production,
                    f"Dagster's records cannot be read: {_first_line(error)}",
                    "readable records",
                    None,
                    UNREADABLE,
                )
            ]
        where = f" ({'; '.join(unread)})" if unread else ""
        return [
            *reported,
            _finding(
                production,
                f"Dagster has no such run{where}",
                f"run {production.dagster_run}",
                None,
                _forget(production),
            ),
        ]

    return confirm


def _forget(production: MaterializationRecord) -> str:
    record = materialization_file(Path("<store>"), production.artifact, production.dagster_run)
    otherwise = (
        f"remove {record} and materialize {_where(production)} again; --offline verifies the store"
        " alone"
    )
    return (
        "restore Dagster's storage; if the run was deleted on purpose, or ended before Dagster"
        f" recorded it, {otherwise}"
    )


def _materialized(instance: dg.DagsterInstance, production: MaterializationRecord) -> list[Finding]:
    """What is wrong with the materializations of this asset and partition in the run that the
    production names."""
    run, where = production.dagster_run, _where(production)
    described = [
        {
            "data version": (event.tags or {}).get("dagster/data_version"),
            "artifact": _text(event.metadata.get("artifact")),
        }
        for event in _run_events(instance, run)
        if event.asset_key.to_user_string() == production.asset
        and event.partition == production.partition
    ]
    expected = {"data version": production.data_version, "artifact": production.artifact}
    if expected in described:
        return []
    if not described:
        return [
            _finding(
                production,
                f"Dagster: run {run} did not materialize {where}",
                where,
                None,
                _forget(production),
            )
        ]
    newest = described[-1]
    return [
        _finding(
            production,
            f"Dagster: run {run} materialized {where} with another {name}",
            value,
            newest[name],
        )
        for name, value in expected.items()
        if newest[name] != value
    ]


def _run_events(instance: dg.DagsterInstance, run: str) -> Iterator[dg.AssetMaterialization]:
    cursor, more = None, True
    while more:
        page = instance.get_records_for_run(
            run, cursor=cursor, of_type=dg.DagsterEventType.ASSET_MATERIALIZATION, limit=PAGE
        )
        for record in page.records:
            if record.asset_materialization is not None:
                yield record.asset_materialization
        cursor, more = page.cursor, page.has_more


def _reported(instance: dg.DagsterInstance, production: MaterializationRecord) -> list[Finding]:
    """Materializations that claim the artifact and that no run made: anyone who reaches the REST
    endpoint or the UI can report one."""
    partitions = None if production.partition is None else [production.partition]
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey.from_user_string(production.asset), asset_partitions=partitions
    )
    findings: list[Finding] = []
    cursor, more = None, True
    while more:
        page = instance.fetch_materializations(wanted, limit=PAGE, cursor=cursor)
        for record in page.records:
            event = record.asset_materialization
            if record.run_id or event is None:
                continue
            claims = {
                (event.tags or {}).get("dagster/data_version"),
                _text(event.metadata.get("artifact")),
            }
            if claims & {production.data_version, production.artifact}:
                what = (
                    f"Dagster: materialization {record.storage_id} of {_where(production)} was"
                    " reported from outside a run"
                )
                remedy = (
                    "find out who reported it; materialize the asset in a run, so that its newest"
                    " materialization is one that a run made"
                )
                findings.append(
                    _finding(production, what, f"run {production.dagster_run}", "no run", remedy)
                )
        cursor, more = page.cursor, page.has_more
    return findings


def cross_check_mlflow(tracking_uri: str, store: ArtifactStore) -> Witness:
    """Asks MLflow whether the experiment run that a production names is finished and describes the
    same job and artifact.

    Args:
        tracking_uri: Where the runs are.
        store: Gives the manifest: beta, and the samples that a run of `held_out_evals` made on the
            way.
    """

    def confirm(production: MaterializationRecord) -> list[Finding]:
        if production.mlflow_run is None:
            return []
        database = Path(tracking_uri.removeprefix("sqlite:///"))
        if (
            tracking_uri.startswith("sqlite:///") and not database.is_file()
        ):  # opening it would create it
            return [
                _finding(
                    production,
                    f"MLflow has no such run ({database} does not exist)",
                    f"run {production.mlflow_run}",
                    None,
                    UNREADABLE,
                )
            ]
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read while mlflow is imported
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            run = MlflowClient(tracking_uri=tracking_uri).get_run(production.mlflow_run)
        except MlflowException as error:
            remedy = (
                f"restore MLflow's database, or materialize {_where(production)} again. MLflow"
                f" says: {_first_line(error)}"
            )
            return [
                _finding(
                    production,
                    "MLflow has no such run",
                    f"run {production.mlflow_run}",
                    None,
                    remedy,
                )
            ]
        except SQLAlchemyError as error:
            return [
                _finding(
                    production,
                    f"MLflow's records cannot be read: {_first_line(error)}",
                    f"run {production.mlflow_run}",
                    None,
                    UNREADABLE,
                )
            ]
        return _described(production, run, store)

    return confirm


def _described(production: MaterializationRecord, run: Any, store: ArtifactStore) -> list[Finding]:
    tags, name = run.data.tags, f"MLflow run {production.mlflow_run}"
    findings = []
    if run.info.status != "FINISHED":
        findings.append(_finding(production, f"{name} did not finish", "FINISHED", run.info.status))
    if run.info.lifecycle_stage != "active":
        findings.append(
            _finding(
                production,
                f"{name} was deleted",
                "active",
                run.info.lifecycle_stage,
                "restore it: `mlflow runs restore --run-id`",
            )
        )
    if tags.get("plumbline.spec") != production.spec:
        findings.append(
            _finding(
                production,
                f"{name}: tag plumbline.spec",
                production.spec,
                tags.get("plumbline.spec"),
            )
        )
    accepted = {
        production.artifact: production.data_version,
        **_samples(store, production.artifact),
    }
    tagged = tags.get("plumbline.artifact")
    if tagged not in accepted:
        findings.append(
            _finding(production, f"{name}: tag plumbline.artifact", " or ".join(accepted), tagged)
        )
    tree = accepted.get(tagged, production.data_version)
    if tags.get("plumbline.tree") != tree:
        findings.append(
            _finding(production, f"{name}: tag plumbline.tree", tree, tags.get("plumbline.tree"))
        )
    logged = tags.get("dagster.run")
    if logged is not None and not production.cached and logged != production.dagster_run:
        findings.append(
            _finding(production, f"{name}: tag dagster.run", production.dagster_run, logged)
        )
    return findings + _beta(production, run, store, name)


def _beta(
    production: MaterializationRecord, run: Any, store: ArtifactStore, name: str
) -> list[Finding]:
    """Findings when the manifest's facts name a beta and the parameters of the run name another or
    none; sections make it `recipe.beta`."""
    artifact = _manifest(store, production.artifact)
    beta = None if artifact is None else artifact.facts.get("beta")
    if not isinstance(beta, int | float):
        return []
    logged = {
        key: value for key, value in run.data.params.items() if key.rpartition(".")[2] == "beta"
    }
    if logged and all(_is_number(value, beta) for value in logged.values()):
        return []
    return [
        _finding(
            production,
            f"{name}: parameter beta",
            str(beta),
            ", ".join(f"{key} {value}" for key, value in logged.items()) or None,
        )
    ]


def _is_number(logged: str, value: float) -> bool:
    """Whether a parameter, which MLflow keeps as text, is this number."""
    try:
        return float(logged) == value
    except ValueError:
        return False


def _samples(store: ArtifactStore, digest: str) -> dict[str, str]:
    """Artifacts and trees that a job wrote on the way to this one: the job's run describes the
    samples, not the report made from them."""
    artifact = _manifest(store, digest)
    parents = (
        []
        if artifact is None
        else [
            (parent, _manifest(store, parent))
            for role, parent in artifact.parents.items()
            if role == "samples"
        ]
    )
    return {parent: manifest.tree for parent, manifest in parents if manifest is not None}


def _manifest(store: ArtifactStore, digest: str) -> Artifact | None:
    """A manifest, or None where the walk itself reports why it cannot be read."""
    try:
        return store.manifest(digest)
    except ArtifactError:
        return None


def _first_line(error: Exception) -> str:
    return next(iter(str(error).splitlines()), type(error).__name__)


def _text(value: object) -> str | None:
    return value.text if isinstance(value, dg.TextMetadataValue) else None


def _where(production: MaterializationRecord) -> str:
    return (
        production.asset
        if production.partition is None
        else f"{production.asset}[{production.partition}]"
    )


def _finding(
    production: MaterializationRecord,
    what: str,
    expected: str | None,
    found: str | None,
    remedy: str = CHANGED,
) -> Finding:
    return Finding(
        artifact=production.artifact, what=what, expected=expected, found=found, remedy=remedy
    )
