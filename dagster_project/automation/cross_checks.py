"""Dagster and MLflow as cross-checks of a lineage: both are only read, and neither is trusted
beyond confirming what the store says."""

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

    A materialization record is confirmed when one of the instances (one for each profile: the store
    is shared) knows the run, and that run has a materialization of the asset and partition with the
    same data version and artifact. A materialization that somebody reported from outside a run
    never confirms; if it names the artifact, it is a finding.

    Args:
        instances: Where runs are looked for.
        unread: Sentences about records that could not be opened; a run that no instance knows may
            be in them.
    """

    def confirm(record: MaterializationRecord) -> list[Finding]:
        from sqlalchemy.exc import SQLAlchemyError

        try:
            reported = [
                finding for instance in instances for finding in _reported(instance, record)
            ]
            known = next(
                (instance for instance in instances if instance.has_run(record.dagster_run)),
                None,
            )
            if known is not None:
                return reported + _materialized(known, record)
        except (SQLAlchemyError, dg.DagsterError) as error:
            what = f"Dagster's records cannot be read: {_first_line(error)}"
            return [_finding(record, what, "readable records", None, UNREADABLE)]
        what = "Dagster has no such run" + (f" ({'; '.join(unread)})" if unread else "")
        expected = f"run {record.dagster_run}"
        return [*reported, _finding(record, what, expected, None, _forget(record))]

    return confirm


def _forget(record: MaterializationRecord) -> str:
    path = materialization_file(Path("<store>"), record.artifact, record.dagster_run)
    otherwise = (
        f"remove {path} and materialize {_where(record)} again; --offline verifies the store alone"
    )
    return (
        "restore Dagster's storage; if the run was deleted on purpose, or ended before Dagster"
        f" recorded it, {otherwise}"
    )


def _materialized(instance: dg.DagsterInstance, record: MaterializationRecord) -> list[Finding]:
    """What is wrong with the materializations of this asset and partition in the run that the
    record names."""
    run, where = record.dagster_run, _where(record)
    described = [
        {
            "data version": (event.tags or {}).get("dagster/data_version"),
            "artifact": _text(event.metadata.get("artifact")),
        }
        for event in _run_events(instance, run)
        if event.asset_key.to_user_string() == record.asset and event.partition == record.partition
    ]
    expected = {"data version": record.data_version, "artifact": record.artifact}
    if expected in described:
        return []
    if not described:
        what = f"Dagster: run {run} did not materialize {where}"
        return [_finding(record, what, where, None, _forget(record))]
    newest = described[-1]
    return [
        _finding(
            record,
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


def _reported(instance: dg.DagsterInstance, record: MaterializationRecord) -> list[Finding]:
    """Materializations that name the artifact and that no run made: anyone who reaches the REST
    endpoint or the UI can report one."""
    partitions = None if record.partition is None else [record.partition]
    wanted = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey.from_user_string(record.asset), asset_partitions=partitions
    )
    findings: list[Finding] = []
    cursor, more = None, True
    while more:
        page = instance.fetch_materializations(wanted, limit=PAGE, cursor=cursor)
        for entry in page.records:
            event = entry.asset_materialization
            if entry.run_id or event is None:
                continue
            named = {
                (event.tags or {}).get("dagster/data_version"),
                _text(event.metadata.get("artifact")),
            }
            if named & {record.data_version, record.artifact}:
                what = (
                    f"Dagster: materialization {entry.storage_id} of {_where(record)} was"
                    " reported from outside a run"
                )
                remedy = (
                    "find out who reported it; materialize the asset in a run, so that its newest"
                    " materialization is one that a run made"
                )
                findings.append(
                    _finding(record, what, f"run {record.dagster_run}", "no run", remedy)
                )
        cursor, more = page.cursor, page.has_more
    return findings


def cross_check_mlflow(tracking_uri: str, store: ArtifactStore) -> Witness:
    """Asks MLflow whether the experiment run that a materialization record names is finished and
    describes the same job and artifact.

    Args:
        tracking_uri: Where the runs are.
        store: Gives the manifest: beta, and the samples that a run of `held_out_evals` made on the
            way.
    """

    def confirm(record: MaterializationRecord) -> list[Finding]:
        if record.mlflow_run is None:
            return []
        expected = f"run {record.mlflow_run}"
        database = Path(tracking_uri.removeprefix("sqlite:///"))
        # a database that is not there is not opened: that would create it
        if tracking_uri.startswith("sqlite:///") and not database.is_file():
            what = f"MLflow has no such run ({database} does not exist)"
            return [_finding(record, what, expected, None, UNREADABLE)]
        os.environ.setdefault("MLFLOW_DISABLE_TELEMETRY", "true")  # read while mlflow is imported
        from mlflow import MlflowClient
        from mlflow.exceptions import MlflowException
        from sqlalchemy.exc import SQLAlchemyError

        try:
            run = MlflowClient(tracking_uri=tracking_uri).get_run(record.mlflow_run)
        except MlflowException as error:
            remedy = (
                f"restore MLflow's database, or materialize {_where(record)} again. MLflow"
                f" says: {_first_line(error)}"
            )
            return [_finding(record, "MLflow has no such run", expected, None, remedy)]
        except SQLAlchemyError as error:
            what = f"MLflow's records cannot be read: {_first_line(error)}"
            return [_finding(record, what, expected, None, UNREADABLE)]
        return _described(record, run, store)

    return confirm


def _described(record: MaterializationRecord, run: Any, store: ArtifactStore) -> list[Finding]:
    """Findings where the run is not the one that trained this: status, job, artifact, bytes, beta.

    The run is anyone's to edit, so each tag is held against the store, never the other way round.
    """
    tags, name = run.data.tags, f"MLflow run {record.mlflow_run}"
    findings = []
    if run.info.status != "FINISHED":
        findings.append(_finding(record, f"{name} did not finish", "FINISHED", run.info.status))
    if run.info.lifecycle_stage != "active":
        remedy = "restore it: `mlflow runs restore --run-id`"
        stage = run.info.lifecycle_stage
        findings.append(_finding(record, f"{name} was deleted", "active", stage, remedy))
    # a run of held_out_evals describes its samples, which the report was made from
    accepted = {record.artifact: record.data_version, **_samples(store, record.artifact)}
    tagged = tags.get("plumbline.artifact")
    tree = accepted.get(tagged, record.data_version)
    spec, logged = tags.get("plumbline.spec"), tags.get("dagster.run")
    if spec != record.spec:
        findings.append(_finding(record, f"{name}: tag plumbline.spec", record.spec, spec))
    if tagged not in accepted:
        what = f"{name}: tag plumbline.artifact"
        findings.append(_finding(record, what, " or ".join(accepted), tagged))
    if tags.get("plumbline.tree") != tree:
        what = f"{name}: tag plumbline.tree"
        findings.append(_finding(record, what, tree, tags.get("plumbline.tree")))
    if logged is not None and not record.cached and logged != record.dagster_run:
        findings.append(_finding(record, f"{name}: tag dagster.run", record.dagster_run, logged))
    return findings + _beta(record, run, store, name)


def _beta(
    record: MaterializationRecord, run: Any, store: ArtifactStore, name: str
) -> list[Finding]:
    """Findings when the manifest's facts name a beta and the parameters of the run name another or
    none; sections make it `recipe.beta`."""
    artifact = _manifest(store, record.artifact)
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
            record,
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


def _where(record: MaterializationRecord) -> str:
    return record.asset if record.partition is None else f"{record.asset}[{record.partition}]"


def _finding(
    record: MaterializationRecord,
    what: str,
    expected: str | None,
    found: str | None,
    remedy: str = CHANGED,
) -> Finding:
    return Finding(
        artifact=record.artifact, what=what, expected=expected, found=found, remedy=remedy
    )
