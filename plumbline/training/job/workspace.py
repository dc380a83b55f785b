"""The folder of one job: what the worker reads, where it writes, and how it tells about its
progress."""

import math
import os
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.objectives.masks import MaskReceipt, check_receipt
from plumbline.records import canonical_json
from plumbline.storage.artifacts import write_atomically
from plumbline.training.job.spec import Job, JobSpec

UNSTABLE_METRICS = frozenset(
    {
        "epoch",
        "total_flos",
        "train_loss",
        "train_runtime",
        "train_samples_per_second",
        "train_steps_per_second",
        "num_tokens",
        "step",
    }
)
"""What trainers log that depends on the clock, or on whether the run was interrupted; `epoch` says
no more than the step."""


@dataclass(frozen=True)
class Workspace:
    """A job and its folder."""

    folder: Path
    job: Job
    log: Callable[[str], None]
    """Tells a person, and Dagster where it listens, what happens."""

    @property
    def spec(self) -> JobSpec:
        """The specification of the job."""
        return self.job.spec

    @property
    def output(self) -> Path:
        """The tree that will be published."""
        return self.folder / "output"

    @property
    def checkpoints(self) -> Path:
        """Where the trainer saves."""
        return self.folder / "checkpoints"

    def tree(self, role: str) -> Path:
        """Folder of one input, which the worker has verified."""
        return Path(self.job.store) / "trees" / self.job.inputs[role].tree.removeprefix("sha256:")

    def write_receipt(self, receipt: MaskReceipt) -> None:
        """Write the mask receipt beside the job and into its output, then judge it.

        Raises:
            MaskBreach: If the receipt shows tokens that must not be trained, or none that must.
        """
        for folder in (self.folder, self.output):
            write_atomically(folder / "mask_receipt.json", receipt.to_json())
        check_receipt(receipt)

    def mend_progress(self) -> None:
        """Cut off a line of progress.jsonl that a killed process left unfinished, so that the next
        one starts on a line of its own."""
        path = self.folder / "progress.jsonl"
        if path.exists():
            data = path.read_bytes()
            os.truncate(path, data.rfind(b"\n") + 1)

    def report_progress(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Append one line to progress.jsonl and hand it to the operating system.

        After a resume, steps between the checkpoint and the interruption are reported again, with
        equal values.
        """
        with (self.folder / "progress.jsonl").open("ab") as stream:
            stream.write(canonical_json({"step": step, "total": total, "metrics": dict(metrics)}))


def stable_metrics(logs: Mapping[str, Any]) -> dict[str, float]:
    """The finite numbers of a trainer's log that a repeated run gives again, bit for bit."""
    return {
        name: float(value)
        for name, value in logs.items()
        if name not in UNSTABLE_METRICS and isinstance(value, int | float) and math.isfinite(value)
    }  # fmt: skip


def write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    """Write canonical JSONL."""
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(canonical_json(row) for row in rows))
