"""DVC versions of data folders: transport for people who work with DVC, cross-checked and never
trusted.

A snapshot's name is DVC's own: the MD5 of the sorted list of (md5, path) of its files, with `.dir`
behind it. Every snapshot is computed twice, by DVC and here, and restored files are hashed again,
because DVC ignores what `.dvcignore` names and believes read-only files in its cache.
"""

import hashlib
import json
import logging
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import dagster as dg
from filelock import FileLock

from plumbline.errors import ArtifactNotFound, ConfigError, DigestMismatch
from plumbline.storage.artifacts import hash_tree
from resources.home import Home

if TYPE_CHECKING:
    from dvc.repo import Repo

HEX = set("0123456789abcdef")
CONFIG = """[core]
    no_scm = true
    remote = local
    autostage = false
    analytics = false
    check_update = false
['remote "local"']
    url = ../remote
    verify = true
"""


class DatasetSnapshots(dg.ConfigurableResource["DatasetSnapshots"]):
    """The DVC repository of one profile, `<home>/profiles/<profile>/dvc`: `data/` under `data.dvc`,
    and a remote beside it; no git."""

    home: Home

    def snapshot(self, folder: Path) -> str:
        """Version a folder of plain files and push it to the remote; returns `<md5>.dir`. Unchanged
        files cost nothing.

        Raises:
            DigestMismatch: If DVC versioned other bytes than the folder holds, or the folder holds
                links.
        """
        return _version(self._root(), folder)

    def restore(self, version: str, target: Path) -> None:
        """Write the files of a version into a folder that does not exist yet.

        Raises:
            ArtifactNotFound: If the version is neither in the cache nor in the remote.
            DigestMismatch: If its list of files leaves the folder or is not what its name says, or
                the restored bytes differ.
        """
        if target.exists():
            raise ConfigError(f"{target} exists; a snapshot is restored into a new folder only")
        root = self._root()
        _require_version(version)
        cache = root / ".dvc" / "cache"
        with (
            FileLock(root / ".dvc" / "plumbline.lock"),
            tempfile.TemporaryDirectory(dir=root.parent, prefix="restore-") as name,
        ):
            workspace = Path(name)
            (workspace / ".dvc").mkdir()
            (workspace / ".dvc" / "config").write_text(CONFIG)
            pointer = workspace / "data.dvc"
            pointer.write_text(
                json.dumps({"outs": [{"md5": version, "hash": "md5", "path": "data"}]})
            )
            settings = {
                "cache": {"dir": str(cache)},
                "remote": {"local": {"url": str(root / "remote")}},
            }
            with _open(workspace, settings) as repo:
                _fetch(repo, pointer, version)
                _require_safe_listing(cache / "files" / "md5" / version[:2] / version[2:], version)
                repo.checkout(targets=[str(pointer)], force=True)
            restored = folder_md5(workspace / "data")
            if restored != version:
                raise DigestMismatch(
                    f"snapshot {version}: the restored files are {restored}; the cache {cache} was"
                    " changed. Delete it: the remote has a copy."
                )
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.move(workspace / "data", target)

    def _root(self) -> Path:
        root = self.home.layout.dvc
        settings = root / ".dvc" / "config"
        if not settings.exists():
            settings.parent.mkdir(parents=True, exist_ok=True)
            with FileLock(root / ".dvc" / "plumbline.lock"):
                settings.write_text(CONFIG)
        return root


def propose(folder: Path, project: Path) -> str:
    """Make a folder the project's committed data: `data/`, the pointer `data.dvc` and the objects
    in `dvc-remote/`; returns `<md5>.dir`.

    Nothing is committed: a person reviews and commits `data.dvc` and `dvc-remote/`, and a fresh
    clone gets the data with `dvc pull`.

    Raises:
        ConfigError: If the project has no DVC configuration.
        DigestMismatch: If DVC versioned other bytes than the folder holds.
    """
    if not (project / ".dvc" / "config").is_file():
        raise ConfigError(f"{project}: has no .dvc/config; run this in a checkout of the project")
    return _version(project, folder)


def folder_md5(folder: Path) -> str:
    """The version of a folder as DVC defines it: `<md5>.dir`."""
    entries = []
    for path in sorted(path for path in folder.rglob("*") if path.is_file()):
        with path.open("rb") as stream:
            digest = hashlib.file_digest(
                stream, lambda: hashlib.md5(usedforsecurity=False)
            ).hexdigest()
        entries.append({"md5": digest, "relpath": path.relative_to(folder).as_posix()})
    return _listing_md5(
        json.dumps(sorted(entries, key=lambda entry: entry["relpath"]), sort_keys=True).encode()
    )


def _version(root: Path, folder: Path) -> str:
    if not hash_tree(folder):
        raise ConfigError(f"{folder}: holds no files, so there is nothing to version")
    data = root / "data"
    with FileLock(root / ".dvc" / "plumbline.lock"):
        shutil.rmtree(data, ignore_errors=True)
        shutil.copytree(folder, data, copy_function=shutil.copyfile)
        with _open(root, {}) as repo:
            (stage,) = repo.add([str(data)])
            version = str(stage.outs[0].hash_info.value)
            repo.push(targets=[str(root / "data.dvc")])
    expected = folder_md5(folder)
    if version != expected:
        raise DigestMismatch(
            f"{data}: DVC versioned {version}, but {folder} is {expected}; look for a rule in"
            f" {root / '.dvcignore'} that hides files"
        )
    return version


@contextmanager
def _open(root: Path, settings: dict[str, Any]) -> Iterator["Repo"]:
    """A DVC repository that waits for its lock and keeps its state inside itself."""
    os.environ["DVC_NO_ANALYTICS"] = "1"
    from dvc.repo import Repo

    # Importing DVC ties its loggers to the stdout of that moment, for its command line; a log line
    # after that stream is closed would raise.
    for name in ("dvc", "dvc_data", "dvc_objects"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.WARNING)
    core = {"site_cache_dir": str(root / ".dvc" / "tmp" / "site")}
    with Repo(str(root), config={"core": core, **settings}, _wait_for_lock=True) as repo:
        yield repo


def _fetch(repo: "Repo", pointer: Path, version: str) -> None:
    from dvc.exceptions import DvcException

    try:
        repo.fetch(targets=[str(pointer)])
    except DvcException as error:
        raise ArtifactNotFound(
            f"snapshot {version} cannot be fetched: {error}. Materialize the data asset again to"
            " write it."
        ) from error


def _require_version(version: str) -> None:
    value, _, suffix = version.partition(".")
    if suffix != "dir" or len(value) != 32 or set(value) - HEX:
        raise ConfigError(
            f"'{version}' is not a DVC version of a folder; expected 32 hex digits and .dir"
        )


def _require_safe_listing(path: Path, version: str) -> None:
    """Refuse a list of files that is not what its name says, or that would write outside its
    folder."""
    try:
        data = path.read_bytes()
    except FileNotFoundError:
        raise ArtifactNotFound(
            f"{path}: snapshot {version} is not in the store. Materialize the data asset again to"
            " write it."
        ) from None
    if _listing_md5(data) != version:
        raise DigestMismatch(
            f"{path}: is {_listing_md5(data)}, not {version}; it was changed. Delete it: the remote"
            " has a copy."
        )
    for entry in json.loads(data):
        name = PurePosixPath(entry["relpath"])
        if (
            name.is_absolute()
            or not name.parts
            or ".." in name.parts
            or "\\" in entry["relpath"]
            or "\0" in entry["relpath"]
        ):
            raise DigestMismatch(
                f"{path}: lists the file '{entry['relpath']}', which leaves its folder; nothing was"
                " restored"
            )


def _listing_md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest() + ".dir"
