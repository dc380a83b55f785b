"""What the MLflow run of a job is told: parameters by section, tags and files."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import dagster as dg

from plumbline.schema.kinds import MASK_RECEIPT_FILE
from plumbline.storage.code_identity import code_identity
from plumbline.training.job.spec import JobSpec

ATTACHMENTS = (MASK_RECEIPT_FILE, "worker.log", "failure.txt")


def parameter_sections(spec: JobSpec) -> dict[str, Any]:
    """What the run shows as parameters."""
    return spec.model_dump(mode="json", include={"kind", "model", "recipe", "hardware"})


def run_tags(
    context: dg.AssetExecutionContext,
    spec: JobSpec,
    parents: Mapping[str, str],
    asset: str,
    partition: str | None,
    dvc: str | None,
) -> dict[str, str]:
    """By what a run is found: asset, partition, Dagster run, inputs and spec."""
    code = code_identity()
    tags = {
        "dagster.run": context.run.run_id,
        "dagster.asset": asset,
        "plumbline.kind": spec.kind,
        "plumbline.schema.rubric": spec.rubric,
        "plumbline.chat_template": spec.chat_template,
        "plumbline.commit": f"{code.commit}{' (dirty)' if code.dirty else ''}",
        **{f"plumbline.data.{role}": tree for role, tree in spec.inputs.items()},
        **{f"plumbline.suite.{role}": suite for role, suite in spec.certificates.items()},
        **{f"plumbline.parent.{role}": digest for role, digest in parents.items()},
    }
    return (
        tags
        | ({"dagster.partition": partition} if partition else {})
        | ({"plumbline.dvc": dvc} if dvc else {})
    )


def attachments(folder: Path) -> list[Path]:
    """Files of a job that the run keeps."""
    return [folder / name for name in ATTACHMENTS if (folder / name).exists()]
