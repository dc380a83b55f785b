"""Which code ran: commit, dirty flag, digest of the source and versions of the packages."""

import functools
import hashlib
import importlib.metadata
import subprocess
from pathlib import Path

from pydantic import Field

from plumbline.records import Record, canonical_json, sha256

ROOT = Path(__file__).resolve().parents[2]
PACKAGES = (
    "dagster",
    "datasets",
    "dvc",
    "great-expectations",
    "mlflow",
    "numpy",
    "polars",
    "pydantic",
    "torch",
    "transformers",
    "trl",
)


class CodeIdentity(Record):
    """The code and packages that produced an artifact."""

    commit: str = Field(description="git commit, or `unknown` outside a checkout")
    dirty: bool = Field(
        description="true when tracked files differ from the commit, or outside a checkout"
    )
    source: str = Field(description="digest of every Python file of the library")
    packages: dict[str, str] = Field(
        description="versions of the packages that can change a result; `absent` when not installed"
    )


@functools.cache
def code_identity() -> CodeIdentity:
    """The identity of the running code; git is asked once in a process."""
    commit = head_commit()
    status = _git("status", "--porcelain", "--untracked-files=no")
    return CodeIdentity(
        commit=commit or "unknown",
        dirty=commit is None or status is None or bool(status),
        source=source_digest("plumbline"),
        packages={name: _version(name) for name in PACKAGES},
    )


def head_commit() -> str | None:
    """The git commit that is checked out; None outside a checkout."""
    return _git("rev-parse", "HEAD")


@functools.cache
def source_digest(*folders: str) -> str:
    """Digest of the Python files below folders of the project: the part of the code that a job's
    result depends on."""
    files = sorted(path for folder in folders for path in (ROOT / folder).rglob("*.py"))
    return sha256(
        canonical_json(
            {
                path.relative_to(ROOT).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest()
                for path in files
            }
        )
    )


def packages_digest() -> str:
    """Digest of the package versions that can change a result."""
    return sha256(canonical_json({name: _version(name) for name in PACKAGES}))


def _version(name: str) -> str:
    try:
        return importlib.metadata.version(name)
    except importlib.metadata.PackageNotFoundError:
        return "absent"


def _git(*arguments: str) -> str | None:
    try:
        done = subprocess.run(
            ["git", "-C", str(ROOT), *arguments],
            capture_output=True,
            text=True,
            timeout=20,
            check=False,
        )
    except (FileNotFoundError, subprocess.TimeoutExpired):
        return None
    return done.stdout.strip() if done.returncode == 0 else None
