"""The artifact store: atomic, re-hashed on every open, and loud about every difference."""

import multiprocessing
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plumbline.errors import ArtifactNotFound, DigestMismatch
from plumbline.records import canonical_json, sha256
from plumbline.storage.artifacts import ArtifactStore, hash_tree, tree_digest, write_atomically
from plumbline.storage.code_identity import CodeIdentity

CODE = CodeIdentity(commit="c0ffee", dirty=False, source=sha256(b""), packages={})


def publish(
    store: ArtifactStore,
    files: dict[str, bytes],
    kind: str = "dataset",
    parents: dict[str, str] | None = None,
) -> tuple[str, str]:
    with store.staging() as folder:
        for name, data in files.items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_bytes(data)
        digest, artifact = store.publish(
            folder, kind=kind, config=sha256(b"config"), code=CODE, parents=parents or {}, facts={}
        )
    return digest, artifact.tree


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


def test_a_tree_digest_by_hand():
    """{"a":{"digest":"sha256:<of 'x'>","size":1}} and a newline, hashed."""
    from plumbline.storage.artifacts import FileEntry

    x = "sha256:2d711642b726b04401627ca9fbac32f5c8530fb1903cc4db02258717921a4881"
    text = '{"a":{"digest":"' + x + '","size":1}}\n'
    assert sha256(b"x") == x
    assert tree_digest({"a": FileEntry(size=1, digest=x)}) == sha256(text.encode())


def test_open_returns_what_was_published(store):
    digest, tree = publish(store, {"model/a.txt": b"alpha", "b.txt": b"beta"})
    folder, artifact = store.open(digest, kind="dataset")
    assert (folder / "model" / "a.txt").read_bytes() == b"alpha"
    assert (artifact.tree, artifact.kind, sorted(artifact.files)) == (
        tree,
        "dataset",
        ["b.txt", "model/a.txt"],
    )


def test_publishing_the_same_bytes_twice_is_one_artifact(store):
    assert publish(store, {"a": b"1"}) == publish(store, {"a": b"1"})
    assert len(list((store.root / "trees").iterdir())) == 1
    assert list((store.root / "staging").iterdir()) == []


def test_identity_depends_on_parents_but_the_tree_does_not(store):
    one = publish(store, {"a": b"1"}, parents={"x": sha256(b"p")})
    two = publish(store, {"a": b"1"}, parents={"x": sha256(b"q")})
    assert one[0] != two[0]
    assert one[1] == two[1]


@pytest.mark.parametrize("damage", ["change", "remove", "add", "truncate", "link"])
def test_every_change_of_the_bytes_is_named(store, damage):
    digest, tree = publish(store, {"a.txt": b"alpha", "b.txt": b"beta"})
    folder = store.root / "trees" / tree.removeprefix("sha256:")
    match damage:
        case "change":
            (folder / "a.txt").write_bytes(b"alphA")
        case "remove":
            (folder / "a.txt").unlink()
        case "add":
            (folder / "a.txt.bak").write_bytes(b"")
        case "truncate":
            (folder / "a.txt").write_bytes(b"alph")
        case "link":
            (folder / "a.txt").unlink()
            (folder / "a.txt").symlink_to("/etc/hostname")
    with pytest.raises(DigestMismatch, match=r"a\.txt"):
        store.open(digest)


def test_a_list_of_files_that_agrees_with_changed_bytes_is_refused_by_the_digest_of_the_tree(store):
    """Whoever changes a file and the list beside it alike leaves the name of the tree behind."""
    digest, tree = publish(store, {"a.txt": b"alpha"})
    folder = store.root / "trees" / tree.removeprefix("sha256:")
    (folder / "a.txt").write_bytes(b"alphA")
    forged = store.manifest(digest).model_copy(update={"files": hash_tree(folder)})
    path = store.root / "manifests" / f"{forged.digest().removeprefix('sha256:')}.json"
    path.write_bytes(forged.to_json())
    with pytest.raises(DigestMismatch, match="the manifest's own list of files gives sha256:"):
        store.open(forged.digest())


def test_an_edited_manifest_is_refused(store):
    digest, _ = publish(store, {"a": b"1"})
    path = store.root / "manifests" / f"{digest.removeprefix('sha256:')}.json"
    path.write_bytes(path.read_bytes().replace(b'"dirty":false', b'"dirty":true'))
    with pytest.raises(DigestMismatch, match="manifest was changed"):
        store.open(digest)


def test_what_is_not_there_is_said_by_path(store):
    with pytest.raises(ArtifactNotFound, match="manifests"):
        store.open(sha256(b"nothing"))
    digest, tree = publish(store, {"a": b"1"})
    folder = store.root / "trees" / tree.removeprefix("sha256:")
    (folder / "a").unlink()
    folder.rmdir()
    with pytest.raises(ArtifactNotFound, match="trees"):
        store.open(digest)


def test_another_kind_is_refused(store):
    digest, _ = publish(store, {"a": b"1"}, kind="rubric")
    with pytest.raises(DigestMismatch, match="is a rubric, expected a eval_vault"):
        store.open(digest, kind="eval_vault")


@pytest.mark.parametrize(
    "name", ["", "sha256:..", "md5:" + "0" * 64, "sha256:" + "A" * 64, "sha256:../../etc/passwd"]
)
def test_only_digests_name_artifacts(store, name):
    with pytest.raises(ArtifactNotFound, match="not a digest"):
        store.manifest(name)


def test_the_training_cache_forgets_nothing(store):
    digest, _ = publish(store, {"a": b"1"})
    spec = sha256(b"spec")
    assert store.recall(spec) is None
    store.remember(spec, digest)
    assert store.recall(spec) == digest


def _publish_many(root: str, count: int) -> None:
    store = ArtifactStore(Path(root))
    for index in range(count):
        publish(store, {"a": str(index).encode()})


def test_two_processes_publish_the_same_trees(tmp_path):
    context = multiprocessing.get_context("spawn")
    workers = [
        context.Process(target=_publish_many, args=(str(tmp_path / "store"), 40)) for _ in range(2)
    ]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join(60)
        assert worker.exitcode == 0
    store = ArtifactStore(tmp_path / "store")
    digests = list(store.manifests())
    assert len(digests) == 40
    for digest in digests:
        store.open(digest)


def test_a_killed_writer_leaves_nothing_half_written(tmp_path):
    """SIGKILL at ten different moments of a loop of publications: whatever is visible afterwards
    verifies."""
    script = (
        "import sys; from pathlib import Path; sys.path.insert(0, sys.argv[2])\nimport"
        " test_artifacts as t\nt._publish_many(sys.argv[1], 10_000)\n"
    )
    for moment in range(10):
        root = tmp_path / str(moment)
        process = subprocess.Popen(
            [sys.executable, "-c", script, str(root), str(Path(__file__).parent)],
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[3])},
        )
        deadline = time.monotonic() + 30
        while not list((root / "manifests").glob("*.json")) and time.monotonic() < deadline:
            time.sleep(0.01)
        time.sleep(0.013 * moment)
        process.send_signal(signal.SIGKILL)
        process.wait()
        store = ArtifactStore(root)
        digests = list(store.manifests())
        assert digests
        for digest in digests:
            store.open(digest)


def test_a_failed_write_leaves_the_old_file(tmp_path, monkeypatch):
    path = tmp_path / "state.json"
    write_atomically(path, b"old")

    def fail(*_: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(path, b"new")
    assert path.read_bytes() == b"old"
    assert [p.name for p in tmp_path.iterdir()] == ["state.json"]


def test_canonical_json_by_hand():
    assert canonical_json({"b": 1, "a": "é"}) == '{"a":"é","b":1}\n'.encode()
    with pytest.raises(ValueError, match="not JSON compliant"):
        canonical_json(float("nan"))
