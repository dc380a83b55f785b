"""DVC snapshots on real repositories, with DVC's own command line as the judge."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from contextlib import nullcontext
from pathlib import Path

import pytest
from dvc.repo import Repo

from plumbline.errors import ArtifactNotFound, ConfigError, DigestMismatch
from resources.home import Home
from resources.snapshots import (
    DatasetSnapshots,
    _require_safe_listing,
    folder_md5,
    propose,
)

PROJECT = Path(__file__).parents[2]
OFFLINE = {
    **os.environ,
    "DVC_NO_ANALYTICS": "1",
    "http_proxy": "http://127.0.0.1:9",
    "https_proxy": "http://127.0.0.1:9",
}


@pytest.fixture
def snapshots(tmp_path):
    return DatasetSnapshots(home=Home(root=str(tmp_path / "home"), profile_name="sandbox"))


def files(folder, **content):
    folder.mkdir(parents=True)
    for name, text in content.items():
        (folder / f"{name}.jsonl").write_text(text)
    return folder


def content(folder):
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in folder.rglob("*")
        if path.is_file()
    }


def test_every_version_comes_back_and_nothing_is_printed(snapshots, tmp_path, capfd):
    first = files(tmp_path / "first", train="a\n", validation="b\n")
    second = files(tmp_path / "second", train="a\nc\n")
    versions = [snapshots.snapshot(first), snapshots.snapshot(second)]
    assert versions == [folder_md5(first), folder_md5(second)]
    assert snapshots.snapshot(first) == versions[0]
    for version, folder in zip(versions, (first, second), strict=True):
        snapshots.restore(version, tmp_path / "back" / folder.name)
        assert content(tmp_path / "back" / folder.name) == content(folder)
    assert "".join(capfd.readouterr()) == ""
    done = subprocess.run(
        [sys.executable, "-m", "dvc", "status"],
        cwd=snapshots.home.layout.dvc,
        env=OFFLINE,
        capture_output=True,
        text=True,
        check=True,
    )
    assert "up to date" in done.stdout


def test_version_comes_back_from_the_remote_when_the_cache_is_lost(snapshots, tmp_path):
    folder = files(tmp_path / "data", train="a\n")
    version = snapshots.snapshot(folder)
    shutil.rmtree(snapshots.home.layout.dvc / ".dvc" / "cache")
    snapshots.restore(version, tmp_path / "back")
    assert content(tmp_path / "back") == content(folder)


def object_path(root, md5):
    return root / "files" / "md5" / md5[:2] / md5[2:]


def test_restored_files_that_are_not_the_snapshot_are_refused(snapshots, tmp_path, monkeypatch):
    """A file that changes on its way back is noticed before anybody sees the folder."""
    version = snapshots.snapshot(files(tmp_path / "data", train="a\n"))
    checkout = Repo.checkout

    def checkout_and_change(repo, **arguments):
        checkout(repo, **arguments)
        (Path(repo.root_dir) / "data" / "train.jsonl").write_text("z\n")

    monkeypatch.setattr(Repo, "checkout", checkout_and_change)
    with pytest.raises(DigestMismatch, match="the restored files are"):
        snapshots.restore(version, tmp_path / "back")
    assert not (tmp_path / "back").exists()


def test_a_listing_that_leaves_its_folder_is_refused_before_anything_is_written(
    snapshots, tmp_path
):
    """Even one that leaves its folder and comes back into it: the listing is judged as it is
    written, and nobody has to follow the path."""
    snapshots.snapshot(files(tmp_path / "data", train="a\n"))
    listing = json.dumps(
        [{"md5": hashlib.md5(b"a\n").hexdigest(), "relpath": "../data/train.jsonl"}],
        sort_keys=True,
    ).encode()
    version = hashlib.md5(listing).hexdigest() + ".dir"
    for root in (
        snapshots.home.layout.dvc / "remote",
        snapshots.home.layout.dvc / ".dvc" / "cache",
    ):
        object_path(root, version).parent.mkdir(exist_ok=True)
        object_path(root, version).write_bytes(listing)
    with pytest.raises(DigestMismatch, match="leaves its folder"):
        snapshots.restore(version, tmp_path / "back")
    assert not (tmp_path / "back").exists()


@pytest.mark.parametrize(
    ("relpath", "safe"),
    [
        ("train.jsonl", True),
        ("part/train.jsonl", True),
        ("../data/train.jsonl", False),
        ("part/../train.jsonl", False),
        ("/train.jsonl", False),
        ("part\\train.jsonl", False),
        ("", False),
    ],
)
def test_a_listing_names_files_below_its_folder_only(tmp_path, relpath, safe):
    listing = json.dumps([{"md5": "0" * 32, "relpath": relpath}]).encode()
    path = tmp_path / "listing"
    path.write_bytes(listing)
    version = hashlib.md5(listing).hexdigest() + ".dir"
    with nullcontext() if safe else pytest.raises(DigestMismatch, match="leaves its folder"):
        _require_safe_listing(path, version)


def test_what_cannot_be_restored_or_versioned_says_why(snapshots, tmp_path):
    folder = files(tmp_path / "data", train="a\n")
    version = snapshots.snapshot(folder)
    with pytest.raises(ArtifactNotFound, match=r"snapshot 0{32}\.dir"):
        snapshots.restore("0" * 32 + ".dir", tmp_path / "back")
    with pytest.raises(ConfigError, match="not a DVC version"):
        snapshots.restore("../../etc/passwd.dir", tmp_path / "back")
    with pytest.raises(ConfigError, match="exists"):
        snapshots.restore(version, folder)
    with pytest.raises(ConfigError, match="holds no files"):
        snapshots.snapshot(files(tmp_path / "empty"))
    (folder / "link").symlink_to("/etc/hostname")
    with pytest.raises(DigestMismatch, match="link"):
        snapshots.snapshot(folder)


def test_file_that_dvc_ignores_is_noticed(snapshots, tmp_path):
    folder = files(tmp_path / "data", train="a\n", secret="b\n")
    snapshots.snapshot(folder)
    (snapshots.home.layout.dvc / ".dvcignore").write_text("secret.jsonl\n")
    (folder / "train.jsonl").write_text("c\n")
    with pytest.raises(DigestMismatch, match="dvcignore"):
        snapshots.snapshot(folder)


CONCURRENT = """
import sys
from pathlib import Path
from resources.home import Home
from resources.snapshots import DatasetSnapshots
snapshots = DatasetSnapshots(home=Home(root=sys.argv[1], profile_name="sandbox"))
for number in range(2):
    folder = Path(sys.argv[1]) / f"in-{sys.argv[2]}-{number}"
    folder.mkdir(parents=True)
    (folder / "train.jsonl").write_text(f"{sys.argv[2]} {number}\\n" * 100)
    version = snapshots.snapshot(folder)
    snapshots.restore(version, Path(sys.argv[1]) / f"out-{sys.argv[2]}-{number}")
"""


def test_two_processes_at_once(tmp_path):
    started = [
        subprocess.Popen(
            [sys.executable, "-c", CONCURRENT, str(tmp_path), name],
            env={**os.environ, "PYTHONPATH": str(PROJECT)},
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    errors = [process.communicate(timeout=120)[1] for process in started]
    assert [process.returncode for process in started] == [0, 0], errors
    outputs = sorted(tmp_path.glob("out-*"))
    assert len(outputs) == 4
    for output in outputs:
        assert content(output) == content(tmp_path / output.name.replace("out", "in"))


def test_proposed_data_reach_a_fresh_clone_offline(tmp_path):
    project, clone = tmp_path / "project", tmp_path / "clone"
    shutil.copytree(
        PROJECT / ".dvc", project / ".dvc", ignore=shutil.ignore_patterns("tmp", "cache", "*.lock")
    )
    for name in (".dvcignore", ".gitignore"):
        shutil.copy(PROJECT / name, project)
    folder = files(tmp_path / "data", train="a\n", validation="b\n")
    git = ["git", "-C", str(project), "-c", "user.name=t", "-c", "user.email=t@example.org"]
    subprocess.run([*git, "init", "-q"], check=True)
    version = propose(folder, project)
    assert version == folder_md5(folder)
    assert version in (project / "data.dvc").read_text()
    assert (project / ".gitignore").read_text() == (PROJECT / ".gitignore").read_text()
    subprocess.run([*git, "add", "-A"], check=True)
    subprocess.run([*git, "commit", "-qm", "data"], check=True)
    tracked = subprocess.run(
        [*git, "ls-files"], capture_output=True, text=True, check=True
    ).stdout.split()
    assert not [
        name
        for name in tracked
        if name.startswith((".dvc/cache", ".dvc/tmp", "data/", ".dvc/plumbline"))
    ]
    subprocess.run(["git", "clone", "-q", str(project), str(clone)], check=True)
    subprocess.run([sys.executable, "-m", "dvc", "pull", "-q"], cwd=clone, env=OFFLINE, check=True)
    assert content(clone / "data") == content(folder)


def test_proposal_outside_a_checkout_is_refused(tmp_path):
    with pytest.raises(ConfigError, match=r"has no \.dvc/config"):
        propose(files(tmp_path / "data", train="a\n"), tmp_path)
