"""The folder of one job: where it writes, and how it tells about its progress."""

import os
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from plumbline.records import canonical_json
from plumbline.schema.kinds import PROGRESS_FILE


@dataclass(frozen=True)
class Workspace:
    """Where a job writes, and whom it tells."""

    folder: Path
    spec: str
    """Digest of the job's specification, which its checkpoints carry."""
    log: Callable[[str], None]
    """Tells a person, and Dagster where it listens, what happens."""

    @property
    def output(self) -> Path:
        """The tree that will be published."""
        return self.folder / "output"

    @property
    def checkpoints(self) -> Path:
        """Where the trainer saves."""
        return self.folder / "checkpoints"

    def mend_progress(self) -> None:
        """Cut off a line of progress.jsonl that a killed process left unfinished, so that the next
        one starts on a line of its own."""
        path = self.folder / PROGRESS_FILE
        if path.exists():
            data = path.read_bytes()
            os.truncate(path, data.rfind(b"\n") + 1)

    def report_progress(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Append one line to progress.jsonl and hand it to the operating system.

        After a resume, steps between the checkpoint and the interruption are reported again, with
        equal values.
        """
        with (self.folder / PROGRESS_FILE).open("ab") as stream:
            stream.write(canonical_json({"step": step, "total": total, "metrics": dict(metrics)}))

    def report_validation(self, step: int, total: int, metrics: Mapping[str, float]) -> None:
        """Add validation metrics to the progress, under `validation/`."""
        self.report_progress(
            step, total, {f"validation/{name}": value for name, value in metrics.items()}
        )

    def write_lines(self, name: str, rows: Iterable[Mapping[str, Any]]) -> None:
        """Write canonical JSONL into the output."""
        (self.output / name).write_bytes(b"".join(canonical_json(row) for row in rows))
