"""The project's own data.dvc: a fresh clone gets the data offline, and our SHA-256 agrees with what
DVC delivered."""

import subprocess
import sys
from pathlib import Path

import pytest

from plumbline.storage.artifacts import Artifact, hash_tree, tree_digest

ROOT = Path(__file__).resolve().parents[2]


@pytest.fixture
def clone(tmp_path):
    # Only what is committed: the files of the work tree may be ahead of it.
    subprocess.run(
        ["git", "clone", "-q", "--no-hardlinks", str(ROOT), str(tmp_path / "clone")], check=True
    )
    return tmp_path / "clone"


def dvc(clone: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "dvc", *arguments], cwd=clone, capture_output=True, text=True
    )


def test_a_fresh_clone_pulls_the_data(clone):
    done = dvc(clone, "pull")
    assert done.returncode == 0, done.stderr
    manifest = Artifact.from_json((clone / "data" / "manifest.json").read_bytes())
    files = hash_tree(clone / "data")
    del files["manifest.json"]
    assert tree_digest(files) == manifest.tree
    assert manifest.kind == "preference_data"
    assert {
        "train.jsonl",
        "validation.jsonl",
        "calibration.jsonl",
        "set_aside.jsonl",
    } <= files.keys()


def test_a_changed_object_of_the_remote_is_refused(clone):
    largest = max(
        (path for path in (clone / "dvc-remote").rglob("*") if path.is_file()),
        key=lambda path: path.stat().st_size,
    )
    largest.chmod(0o644)
    data = bytearray(largest.read_bytes())
    data[100] ^= 1
    largest.write_bytes(data)
    assert dvc(clone, "pull").returncode != 0
    assert not (clone / "data" / "train.jsonl").exists()
