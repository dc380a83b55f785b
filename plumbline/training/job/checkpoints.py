"""Checkpoints that are whole or not used.

transformers writes `checkpoint-N` file by file; a process that is killed while it does leaves a
folder that looks like a checkpoint, and a resume from it fails for ever. So every checkpoint gets a
manifest beside it, `checkpoint-N.manifest.json`, written atomically after the last file. A folder
without a manifest, or whose bytes differ from it, is removed with a logged reason. The manifest
also names the job, so that a checkpoint is never resumed by another one.
"""

import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from pydantic import ValidationError

from plumbline.errors import DigestMismatch
from plumbline.records import Record
from plumbline.storage.artifacts import FileEntry, hash_tree, write_atomically

KEPT = 2
"""Checkpoints on disk: the newest, and the one before in case the newest turns out to be
damaged."""


class CheckpointManifest(Record):
    """What a whole checkpoint consists of."""

    step: int
    spec: str
    files: dict[str, FileEntry]


def seal_checkpoint(folder: Path, step: int, spec: str) -> None:
    """Write the manifest of a checkpoint that has just been saved, and drop the manifests of
    checkpoints that were rotated away."""
    checkpoint = folder / f"checkpoint-{step}"
    manifest = CheckpointManifest(step=step, spec=spec, files=hash_tree(checkpoint))
    # The files are not synced first: should a power cut lose some of them, the digests say so, and
    # the checkpoint before is used.
    write_atomically(_manifest_path(checkpoint), manifest.to_json())
    for path in folder.glob("checkpoint-*.manifest.json"):
        if not path.with_name(path.name.removesuffix(".manifest.json")).is_dir():
            path.unlink()


def newest_checkpoint(folder: Path, spec: str, log: Callable[[str], None]) -> Path | None:
    """The newest checkpoint that is whole and belongs to this job, or None; every other one that is
    newer is removed.

    Args:
        folder: Where the checkpoints are; need not exist.
        spec: Digest of the job spec.
        log: Gets one line for each checkpoint that is removed, with the reason.
    """
    for step, checkpoint in sorted(_checkpoints(folder), reverse=True):
        problem = _problem(checkpoint, step, spec)
        if problem is None:
            return checkpoint
        log(f"removed {checkpoint.name}: {problem}")
        shutil.rmtree(checkpoint)
        _manifest_path(checkpoint).unlink(missing_ok=True)
    return None


def checkpoint_step(checkpoint: Path) -> int:
    """Optimizer steps that the checkpoint holds."""
    return int(checkpoint.name.removeprefix("checkpoint-"))


def _checkpoints(folder: Path) -> Iterator[tuple[int, Path]]:
    for path in folder.glob("checkpoint-*"):
        if path.is_dir() and re.fullmatch(r"checkpoint-\d+", path.name):
            yield checkpoint_step(path), path


def _manifest_path(checkpoint: Path) -> Path:
    return checkpoint.with_name(checkpoint.name + ".manifest.json")


def _problem(checkpoint: Path, step: int, spec: str) -> str | None:
    """Why a checkpoint cannot be resumed from, or None."""
    try:
        manifest = CheckpointManifest.from_json(_manifest_path(checkpoint).read_bytes())
        files = hash_tree(checkpoint)
    except FileNotFoundError:
        return "it has no manifest, so the process ended while saving it"
    except ValidationError:
        return "its manifest is not readable"
    except DigestMismatch as error:
        return str(error)
    if manifest.spec != spec:
        return f"it belongs to the job {manifest.spec}, not to {spec}"
    if manifest.step != step:
        return f"its manifest is for step {manifest.step}"
    damaged = sorted(
        name
        for name in manifest.files.keys() | files.keys()
        if manifest.files.get(name) != files.get(name)
    )
    return f"these files differ from its manifest: {', '.join(damaged)}" if damaged else None
