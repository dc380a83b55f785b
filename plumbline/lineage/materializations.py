"""Materialization records: which Dagster run materialized an artifact, with the MLflow run and the
DVC version beside it.

An artifact's digest says what was made; its records say when it was made and who can confirm it.
One artifact can have several: a job whose spec was seen before is reused, and the run that reused
it writes a record of its own with `cached` set. They lie in the store under `productions/`.
"""

from pathlib import Path
from typing import Annotated

from pydantic import Field, StringConstraints, ValidationError

from plumbline.errors import LineageError
from plumbline.records import Record
from plumbline.schema.identifiers import Digest, Text
from plumbline.storage.artifacts import write_atomically

DvcVersion = Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{32}\.dir$")]
RunId = Annotated[str, StringConstraints(pattern=r"^[A-Za-z0-9][A-Za-z0-9._-]{0,127}$")]


class MaterializationRecord(Record):
    """One materialization of one artifact, with the ids under which other systems recorded it."""

    artifact: Digest
    kind: Text
    asset: Text = Field(description="asset key, parts joined by `/`")
    partition: str | None = Field(description="partition key; null for an asset without partitions")
    dagster_run: RunId
    data_version: Digest = Field(
        description="tree digest of the artifact, which Dagster knows as the data version"
    )
    spec: Digest | None = Field(description="digest of the job spec; null when no job ran")
    mlflow_run: RunId | None = Field(
        description="null for artifacts that no experiment run describes"
    )
    dvc: DvcVersion | None = Field(
        description="md5 of the folder as DVC computes it; null when not in DVC"
    )
    cached: bool = Field(
        description="true when the artifact of an earlier run was reused and no step was trained"
    )
    person: str | None = Field(
        default=None,
        description=(
            "who launched the run, as far as it is known: PLUMBLINE_PERSON, or the user of the"
            " operating system"
        ),
    )


def materializations_folder(store_root: Path, artifact: str) -> Path:
    """The folder that holds the records of one artifact."""
    return store_root / "productions" / artifact.removeprefix("sha256:")


def materialization_file(store_root: Path, artifact: str, dagster_run: str) -> Path:
    """The file of one record."""
    return materializations_folder(store_root, artifact) / f"{dagster_run}.json"


def write_materialization(store_root: Path, record: MaterializationRecord) -> None:
    """Write `<store>/productions/<artifact hex>/<dagster run>.json`; a repeated step of the same
    run replaces its own record."""
    write_atomically(
        materialization_file(store_root, record.artifact, record.dagster_run),
        record.to_json(),
    )


def read_materializations(store_root: Path, artifact: str) -> tuple[MaterializationRecord, ...]:
    """Records of one artifact, sorted by run id; empty when none was recorded.

    Raises:
        LineageError: If a record cannot be read, or stands under the name of another artifact or
            run.
    """
    return tuple(
        read_materialization(path, artifact) for path in materialization_files(store_root, artifact)
    )


def materialization_files(store_root: Path, artifact: str) -> list[Path]:
    """Files that hold the records of one artifact, sorted; a file that is still being written
    has a leading dot and is left out."""
    return sorted(materializations_folder(store_root, artifact).glob("[!.]*.json"))


def read_materialization(path: Path, artifact: str) -> MaterializationRecord:
    """Read one record.

    Raises:
        LineageError: If it cannot be read, or stands under the name of another artifact or run.
    """
    try:
        record = MaterializationRecord.from_json(path.read_bytes())
    except (OSError, ValidationError) as error:
        raise LineageError(
            f"{path}: is not a production of this version: {error}. Restore it from a copy, or"
            " materialize the asset again."
        ) from error
    if (record.artifact, record.dagster_run) != (artifact, path.stem):
        raise LineageError(
            f"{path}: describes {record.artifact} of run {record.dagster_run}. The file was"
            " moved or renamed: restore it."
        )
    return record
