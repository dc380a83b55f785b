import subprocess
import sys
import uuid
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import pytest

from plumbline.audit.walk import walk
from plumbline.data.consent.erasure import erase
from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.data.store.events import FeedbackStore
from plumbline.lineage.descendants import descendants_of
from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.lineage.tombstones import erased_file
from plumbline.records import canonical_json, sha256
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import CodeIdentity
from plumbline.storage.jsonl import write_records
from tests.unit.in_memory import add_batch, add_events

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 2, 1, tzinfo=UTC)
CODE = CodeIdentity(commit="0" * 40, dirty=False, source=sha256(b"source"), packages={})


@pytest.fixture
def secret():
    """Text of this test alone, with characters that JSON escapes, so that a search for the plain
    form alone would miss it."""
    return f'My street is "Rosenweg {uuid.uuid4()}"\nand I live alone'


@pytest.fixture
def store(feedback_url):
    store = FeedbackStore(feedback_url)
    yield store
    store.close()


def holding(folder, *texts):
    """Files below a folder that hold the text as it is, or as JSON writes it."""
    forms = [form for text in texts for form in (text.encode(), canonical_json(text)[1:-2])]
    return [
        path
        for path in folder.rglob("*")
        if path.is_file()
        and not path.is_symlink()
        and any(form in path.read_bytes() for form in forms)
    ]


def publish(home, name, kind, files, parents, **facts):
    artifacts = ArtifactStore(home / "store")
    with artifacts.staging() as folder:
        for path, records in files.items():
            if isinstance(records, bytes):
                (folder / path).write_bytes(records)
            else:
                write_records(folder / path, records)
        digest, artifact = artifacts.publish(
            folder, kind=kind, config=sha256(b"p"), code=CODE, parents=parents, facts=facts
        )
    fields = {
        "artifact": digest,
        "kind": kind,
        "asset": kind,
        "partition": None,
        "dagster_run": f"run-{name}",
        "data_version": artifact.tree,
    }
    write_materialization(
        artifacts.root,
        MaterializationRecord(**fields, spec=None, mlflow_run=None, dvc=None, cached=False),
    )
    return digest


SNAPSHOT = """
import sys
from pathlib import Path
from resources.home import Home
from resources.snapshots import DatasetSnapshots
for folder in sys.argv[2:]:
    DatasetSnapshots(home=Home(root=sys.argv[1], profile_name="sandbox")).snapshot(Path(folder))
"""


@pytest.fixture
def world(tmp_path, store, make_event, secret):
    """A home with a batch of three events, a dataset of two of them, a clean dataset that shares
    one of its files, and a model."""
    home = tmp_path / "home"
    events = [
        make_event("mine?", secret, "No answer at all", annotator="rater-07"),
        make_event("b", annotator="rater-02"),
        make_event("c", annotator="rater-03"),
    ]
    add_batch(store, "day", events, NOW)
    tables = store.database.tables
    with store.database.writing() as connection:
        row = {
            "source": "f",
            "way": "file",
            "digest": "sha256:x",
            "received_at": "t",
            "rows": 2,
            "accepted": 0,
            "duplicate": 0,
            "quarantined": 2,
        }
        connection.execute(tables.deliveries.insert().values(id=1, **row))
        for number, body in enumerate(
            (b'{"annotator":"rater-07", broken: ' + secret.encode(), b"not a row of rater-08")
        ):
            row = {
                "delivery_id": 1,
                "row": number,
                "byte_offset": 0,
                "length": len(body),
                "reason": "broken",
                "event_id": None,
                "digest": sha256(body),
            }
            connection.execute(tables.quarantined_rows.insert().values(body=body, **row))
    digests = {
        "batch": publish(
            home,
            "batch",
            "feedback_batch",
            {"accepted.jsonl": events, "index.parquet": secret.encode()},
            {},
            batch="day",
        )
    }
    pair = {"chosen": secret, "event_ids": [events[0].id, events[1].id]}
    files = {
        "train.jsonl": canonical_json(pair),
        "validation.jsonl": canonical_json({"event_ids": [events[2].id]}),
    }
    digests["data"] = publish(
        home, "data", "preference_data", files, {"feedback:day": digests["batch"]}
    )
    clean = {
        "train.jsonl": canonical_json({"event_ids": [events[1].id]}),
        "validation.jsonl": files["validation.jsonl"],
    }
    digests["clean"] = publish(
        home, "clean", "preference_data", clean, {"feedback:day": digests["batch"]}
    )
    digests["model"] = publish(
        home,
        "model",
        "reward_model",
        {"model.safetensors": b"weights"},
        {"preference_data": digests["data"]},
    )
    artifacts = ArtifactStore(home / "store")
    return home, events, digests, artifacts


@pytest.mark.requirement("D9")
@pytest.mark.threat("C3")
def test_erased_text_is_nowhere_and_everything_still_verifies(world, store, secret, feedback_url):
    home, events, digests, artifacts = world
    dvc = home / "profiles" / "sandbox" / "dvc"
    folders = [str(artifacts.open(digests[name])[0]) for name in ("data", "clean")]
    subprocess.run(
        [sys.executable, "-c", SNAPSHOT, str(home), *folders],
        cwd=ROOT,
        check=True,
        capture_output=True,
        text=True,
    )
    before = holding(home, secret)
    assert {"store", "profiles"} <= {path.relative_to(home).parts[0] for path in before}
    assert len([path for path in before if dvc in path.parents]) >= 2, "the cache and the remote"
    withdrawals = Withdrawals(store.database)
    withdrawal = withdrawals.withdraw("person", "rater-07", "Ada", "asked", NOW)
    tainted = descendants_of(artifacts, withdrawals.events(withdrawal)).tainted

    done = erase(withdrawal, store.database, home, "Ada", "asked for erasure", NOW)

    assert (done.events, done.rows, done.batches, done.left) == (1, 1, ("day",), ())
    assert set(done.trees) == {artifacts.manifest(digests[name]).tree for name in ("batch", "data")}
    assert holding(home, secret) == []
    if feedback_url.startswith("sqlite"):
        assert holding(Path(urlsplit(feedback_url).path).parent, secret) == [], (
            "neither the database nor its log"
        )
    else:
        [folder] = parse_qs(urlsplit(feedback_url).query)["host"]
        assert holding(Path(folder) / "data" / "base", secret) == []
    assert [event.id for event in store.batch_events("day")] == sorted(
        event.id for event in events[1:]
    ), "the digest of all three ids still verifies"
    with store.database.reading() as connection:
        rows = connection.execute(store.database.tables.erasures.select()).all()
    assert [row.event_id for row in rows] == [events[0].id]
    assert descendants_of(artifacts, withdrawals.events(withdrawal)).tainted == tainted, (
        "what descends from the event is still known"
    )
    lineage = walk(artifacts, digests["model"])
    assert [
        finding
        for finding in lineage.findings
        if "certificate" not in finding.what and "rubric" not in finding.what
    ] == []
    assert {name for name in ("batch", "data", "model") if lineage.nodes[digests[name]].erased} == {
        "batch",
        "data",
    }
    artifacts.open(digests["clean"])
    shared = artifacts.manifest(digests["clean"]).files["validation.jsonl"].digest
    assert any(
        sha256(path.read_bytes()) == shared
        for path in (dvc / "remote").rglob("*")
        if path.is_file()
    ), "the clean dataset keeps its own"


@pytest.mark.threat("C3")
def test_an_erased_event_does_not_come_back(world, store, secret):
    home, events, _, _ = world
    withdrawal = Withdrawals(store.database).withdraw("event", events[0].id, "Ada", "asked", NOW)
    erase(withdrawal, store.database, home, "Ada", "asked", NOW)
    receipt = add_events(store, events, NOW)
    assert (receipt.accepted, receipt.duplicate, receipt.conflict) == (0, 3, 0)
    assert holding(home, secret) == []
    assert len(list(store.batch_events("day"))) == 2


@pytest.mark.threat("C3")
def test_an_interrupted_erasure_is_finished_by_the_next(world, store, secret, monkeypatch):
    """The first attempt stops when it removes its first tree, as a killed process would; the tree
    that was moved aside goes as well."""
    import plumbline.data.consent.erasure as erasure

    home, _, _, artifacts = world
    withdrawal = Withdrawals(store.database).withdraw("person", "rater-07", "Ada", "asked", NOW)
    with monkeypatch.context() as patch:
        patch.setattr(
            erasure.shutil, "rmtree", lambda path: (_ for _ in ()).throw(KeyboardInterrupt)
        )
        with pytest.raises(KeyboardInterrupt):
            erase(withdrawal, store.database, home, "Ada", "asked", NOW)
    assert holding(home, secret) != []
    assert len(list((artifacts.root / "erased").iterdir())) == 1
    erase(withdrawal, store.database, home, "Ada", "asked", NOW)
    assert holding(home, secret) == []
    again = erase(withdrawal, store.database, home, "Ada", "asked", NOW)
    assert (again.events, again.rows, again.trees, again.objects) == (1, 0, (), 0)


def test_text_that_stands_elsewhere_too_is_reported(world, store, secret):
    home, _, _, _ = world
    (home / "notes.txt").write_text(f"copied: {secret}")
    with store.database.writing() as connection:
        connection.execute(
            store.database.tables.tasks.insert().values(
                id="t-1", body=canonical_json({"prompt": secret}), created_at="t"
            )
        )
    withdrawal = Withdrawals(store.database).withdraw("person", "rater-07", "Ada", "asked", NOW)
    left = erase(withdrawal, store.database, home, "Ada", "asked", NOW).left
    assert left == (f"{store.database.name}: task t-1", str(home / "notes.txt"))


def test_a_tree_that_was_changed_is_not_recorded_as_something_else(world, store):
    from plumbline.errors import DigestMismatch

    home, _, digests, artifacts = world
    path = artifacts.open(digests["batch"])[0] / "accepted.jsonl"
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"No answer", b"No Answer"))
    withdrawal = Withdrawals(store.database).withdraw("person", "rater-07", "Ada", "asked", NOW)
    with pytest.raises(DigestMismatch):
        erase(withdrawal, store.database, home, "Ada", "asked", NOW)
    assert not erased_file(artifacts.root, artifacts.manifest(digests["batch"]).tree).exists()
