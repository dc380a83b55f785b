"""Artifacts: trees of files under their SHA-256, described by manifests that are written last.

The store holds `trees/<hex>/` (immutable files), `manifests/<hex>.json` (one canonical `Artifact`
each), `index/<hex>` (job spec digest to artifact digest), `certificates/` and `erased/` (what is
left of trees that held withdrawn text). A tree or manifest that exists is complete: both appear by
an atomic rename after fsync. Every open re-hashes, because parquet and safetensors read flipped
bits without an error.
"""

import hashlib
import os
import shutil
import stat
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from pydantic import BaseModel, Field, ValidationError

from plumbline.errors import ArtifactError, ArtifactNotFound, DigestMismatch
from plumbline.records import Record, canonical_json, sha256
from plumbline.storage.code_identity import CodeIdentity


class FileEntry(BaseModel):
    """Size in bytes and digest of one file."""

    model_config = Record.model_config

    size: int
    digest: str


class Artifact(Record):
    """The manifest that assets pass to each other instead of bytes."""

    kind: str
    tree: str = Field(
        description="digest over the sorted (path, size, digest) of the files: the data version"
    )
    files: dict[str, FileEntry]
    config: str = Field(description="digest of the profile")
    code: CodeIdentity
    parents: dict[str, str] = Field(description="role to artifact digest")
    facts: dict[str, Any] = Field(
        description=(
            "what a person or the lineage walk wants to know: counts, beta, thresholds, digests"
        )
    )


def hash_file(path: Path) -> FileEntry:
    """Size and SHA-256 of one regular file."""
    with path.open("rb") as stream:
        digest = hashlib.file_digest(stream, "sha256").hexdigest()
    return FileEntry(size=path.stat().st_size, digest=f"sha256:{digest}")


def hash_tree(root: Path) -> dict[str, FileEntry]:
    """Entries of every file below a folder, by POSIX path.

    Raises:
        DigestMismatch: If the tree holds a symbolic link or a special file: neither can be
            identified by bytes.
    """
    entries: dict[str, FileEntry] = {}
    for path in sorted(root.rglob("*")):
        mode = path.lstat().st_mode
        if stat.S_ISREG(mode):
            entries[path.relative_to(root).as_posix()] = hash_file(path)
        elif not stat.S_ISDIR(mode):
            raise DigestMismatch(
                f"{path}: is neither a regular file nor a folder; artifacts hold plain files only"
            )
    return entries


def tree_digest(files: dict[str, FileEntry]) -> str:
    """Digest of a tree: SHA-256 of the canonical JSON of its entries."""
    return sha256(canonical_json({name: entry.model_dump() for name, entry in files.items()}))


def write_atomically(path: Path, data: bytes) -> None:
    """Write a file so that it is either absent or complete: temporary file, fsync, rename, fsync of
    the folder."""
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fsync(stream.fileno())
        os.replace(temporary, path)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
    _fsync_folder(path.parent)


def _fsync_folder(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


class ArtifactStore:
    """Content-addressed trees and manifests below one folder."""

    def __init__(self, root: Path) -> None:
        self.root = root

    @contextmanager
    def staging(self) -> Iterator[Path]:
        """A fresh folder on the store's file system; removed afterwards unless it was published."""
        parent = self.root / "staging"
        parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=parent))
        try:
            yield folder
        finally:
            shutil.rmtree(folder, ignore_errors=True)

    def publish_tree(self, folder: Path) -> tuple[str, dict[str, FileEntry]]:
        """Move a staged folder under its digest; a tree that is already there is verified instead.

        Raises:
            ArtifactError: If these very files were erased.
            DigestMismatch: If the tree that is already there was changed.
        """
        files = hash_tree(folder)
        digest = tree_digest(files)
        target = self._path("trees", digest)
        if self._path("erased", digest, ".json").exists():
            raise ArtifactError(
                f"{digest}: these files were erased, for they held withdrawn text, and do not come"
                " back; make them again without the withdrawn events"
            )
        if target.exists():
            self.verify_tree(digest, files)
            return digest, files
        for name in files:
            with (folder / name).open("rb") as stream:
                os.fsync(stream.fileno())
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            os.rename(folder, target)
        except OSError:
            if not target.exists():
                raise
            self.verify_tree(digest, files)  # another process published the same bytes first
        _fsync_folder(target.parent)
        return digest, files

    def verify_tree(self, digest: str, files: dict[str, FileEntry]) -> None:
        """Re-hash a tree.

        Raises:
            ArtifactNotFound: If the tree is not in the store, or was erased.
            DigestMismatch: If anything was added, removed or changed; lists every difference.
        """
        target = self._path("trees", digest)
        if not target.is_dir():
            if self._path("erased", digest, ".json").exists():
                raise ArtifactNotFound(
                    f"{target}: these files were erased, for they held withdrawn text; materialize"
                    " the asset again without it"
                )
            raise ArtifactNotFound(
                f"{target}: the files of {digest} are not in the store; materialize the asset again"
                " or restore the store"
            )
        actual = hash_tree(target)
        problems = [f"{name} is missing" for name in files.keys() - actual.keys()]
        problems += [f"{name} was added" for name in actual.keys() - files.keys()]
        problems += [
            f"{n} is {actual[n].digest}, expected {files[n].digest}"
            for n in files.keys() & actual.keys()
            if actual[n] != files[n]
        ]
        if tree_digest(files) != digest:
            problems.append(f"the manifest's own list of files gives {tree_digest(files)}")
        if problems:
            raise DigestMismatch(
                f"{target}: {'; '.join(sorted(problems))}. The bytes were changed after they were"
                " written: restore them from a copy."
            )

    def publish(
        self,
        folder: Path,
        *,
        kind: str,
        config: str,
        code: CodeIdentity,
        parents: dict[str, str],
        facts: dict[str, Any],
    ) -> tuple[str, Artifact]:
        """Publish a staged folder and its manifest; returns the artifact digest and the
        manifest."""
        tree, files = self.publish_tree(folder)
        artifact = Artifact(
            kind=kind,
            tree=tree,
            files=files,
            config=config,
            code=code,
            parents=parents,
            facts=facts,
        )
        digest = artifact.digest()
        write_atomically(self._path("manifests", digest, ".json"), artifact.to_json())
        return digest, artifact

    def manifest(self, digest: str) -> Artifact:
        """Read a manifest and check that it has the digest that names it.

        Raises:
            ArtifactNotFound: If the manifest is not in the store.
            DigestMismatch: If its bytes do not have this digest.
        """
        path = self._path("manifests", digest, ".json")
        try:
            data = path.read_bytes()
        except FileNotFoundError:
            raise ArtifactNotFound(f"{path}: no artifact {digest} in the store") from None
        if sha256(data) != digest:
            raise DigestMismatch(
                f"{path}: holds {sha256(data)}. The manifest was changed after it was written."
            )
        try:
            return Artifact.from_json(data)
        except ValidationError as error:
            raise DigestMismatch(f"{path}: is not a manifest of this version: {error}") from error

    def open(self, digest: str, kind: str | None = None) -> tuple[Path, Artifact]:
        """Verify an artifact and return its folder and manifest.

        Raises:
            ArtifactNotFound: If manifest or files are missing.
            DigestMismatch: If any byte differs, or the artifact is of another kind.
        """
        artifact = self.manifest(digest)
        if kind is not None and artifact.kind != kind:
            raise DigestMismatch(f"{digest} is a {artifact.kind}, expected a {kind}")
        self.verify_tree(artifact.tree, artifact.files)
        return self._path("trees", artifact.tree), artifact

    def remember(self, spec: str, artifact: str) -> None:
        """Record which artifact a job spec produced: the training cache."""
        write_atomically(self._path("index", spec), artifact.encode() + b"\n")

    def recall(self, spec: str) -> str | None:
        """The artifact digest that a job spec produced, or None."""
        path = self._path("index", spec)
        return path.read_text().strip() if path.exists() else None

    def manifests(self) -> Iterator[str]:
        """Digests of all artifacts, sorted."""
        for path in sorted((self.root / "manifests").glob("*.json")):
            yield f"sha256:{path.stem}"

    def _path(self, folder: str, digest: str, suffix: str = "") -> Path:
        algorithm, _, value = digest.partition(":")
        if algorithm != "sha256" or len(value) != 64 or set(value) - set("0123456789abcdef"):
            raise ArtifactNotFound(
                f"'{digest}' is not a digest; expected sha256: and 64 hex digits"
            )
        return self.root / folder / (value + suffix)
