"""The bytes behind an artifact: every file re-hashed and compared with the manifest, and the
version that DVC gives them."""

import functools
import hashlib
import json
from pathlib import Path

from plumbline.errors import LineageError
from plumbline.lineage.findings import RESTORE, Finding, Witness
from plumbline.lineage.materializations import MaterializationRecord
from plumbline.lineage.tombstones import ErasedTree, read_erased
from plumbline.storage.artifacts import Artifact, FileEntry, hash_file, tree_digest


class TreeBytes:
    """Hashes of the trees of one store; each file is read once however many artifacts name it."""

    def __init__(self, store_root: Path) -> None:
        self.store_root = store_root
        self.hashed = functools.cache(self._hash)
        self.erased: dict[str, ErasedTree] = {}
        """What is left of the trees that were compared and found erased."""

    def folder(self, tree: str) -> Path:
        """Where the files of a tree are, whether it exists or not."""
        return self.store_root / "trees" / tree.removeprefix("sha256:")

    def compare(self, digest: str, artifact: Artifact) -> list[Finding]:
        """Every difference between a manifest and its files: missing, changed, added, unreadable,
        or the manifest against itself.

        An erased tree is none: what is left of it commits to the files.
        """
        findings: list[Finding] = []
        described = tree_digest(artifact.files)
        if described != artifact.tree:
            what = "manifest: its list of files does not give its tree"
            findings.append(_finding(digest, what, artifact.tree, described))
        if not self.folder(artifact.tree).is_dir():
            return findings + self._missing(digest, artifact.tree)
        return findings + self._differences(digest, artifact)

    def _missing(self, digest: str, tree: str) -> list[Finding]:
        try:
            erased = read_erased(self.store_root, tree)
        except LineageError as error:
            return [_finding(digest, str(error), tree, None)]
        if erased is None:
            return [_finding(digest, f"{self.folder(tree)}: the files are missing", tree, None)]
        # what is left commits to the same files, for their entries give the tree
        self.erased[tree] = erased
        return []

    def _differences(self, digest: str, artifact: Artifact) -> list[Finding]:
        folder = self.folder(artifact.tree)
        files, problems = self.hashed(artifact.tree)
        findings = []
        for name in sorted(artifact.files.keys() | files.keys() | problems.keys()):
            expected = artifact.files.get(name)
            wrong = _difference(expected, files.get(name), problems.get(name))
            if wrong is not None:
                findings.append(
                    _finding(
                        digest,
                        f"{folder / name}: {wrong}",
                        None if expected is None else expected.digest,
                        files[name].digest if name in files else None,
                        (
                            "remove it: the tree is read by digest and holds nothing else"
                            if expected is None
                            else RESTORE
                        ),
                    )
                )
        return findings

    def _hash(self, tree: str) -> tuple[dict[str, FileEntry], dict[str, str]]:
        """Entries of the plain files of a tree, and the problem with every other path."""
        folder = self.folder(tree)
        files: dict[str, FileEntry] = {}
        problems: dict[str, str] = {}
        for path in sorted(folder.rglob("*")):
            name = path.relative_to(folder).as_posix()
            if path.is_symlink() or not (path.is_file() or path.is_dir()):
                problems[name] = "is not a plain file"
            elif path.is_file():
                try:
                    files[name] = hash_file(path)
                except OSError as error:
                    problems[name] = f"cannot be read ({error.strerror})"
        return files, problems


def _finding(
    digest: str, what: str, expected: str | None, found: str | None, remedy: str = RESTORE
) -> Finding:
    return Finding(artifact=digest, what=what, expected=expected, found=found, remedy=remedy)


def _difference(
    expected: FileEntry | None, actual: FileEntry | None, problem: str | None
) -> str | None:
    if problem is not None:
        return problem
    if expected is None:
        return "was added after the artifact was written"
    if actual is None:
        return "is missing"
    return (
        None
        if actual == expected
        else f"was changed ({actual.size} bytes, {expected.size} when it was written)"
    )


def dvc_version(folder: Path) -> str:
    """The version that DVC gives a folder: the md5 of its sorted list of (md5, path), with `.dir`
    behind it."""
    entries = [
        {"md5": _md5(path), "relpath": path.relative_to(folder).as_posix()}
        for path in folder.rglob("*")
        if path.is_file()
    ]
    listing = json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True)
    return hashlib.md5(listing.encode(), usedforsecurity=False).hexdigest() + ".dir"


def _md5(path: Path) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, lambda: hashlib.md5(usedforsecurity=False)).hexdigest()


def cross_check_dvc(store_root: Path) -> Witness:
    """Recomputes the DVC version of a tree from its files; needs neither DVC nor its cache."""

    def confirm(record: MaterializationRecord) -> list[Finding]:
        folder = TreeBytes(store_root).folder(record.data_version)
        if record.dvc is None or not folder.is_dir():
            return []  # nothing to compare, or a missing tree, which the walk itself reports
        version = dvc_version(folder)
        if version == record.dvc:
            return []
        remedy = (
            "the files are not those that DVC versioned: compare them with `dvc get` of the"
            " recorded version, then restore the right ones"
        )
        what = f"DVC version of {record.asset} in run {record.dagster_run} is not that of its files"
        return [_finding(record.artifact, what, record.dvc, version, remedy)]

    return confirm
