"""The ledger as a witness of releases: what it confirms, and everything that it does not."""

import json
from datetime import UTC, datetime

import pytest

from plumbline.audit.releases import cross_check_ledger
from plumbline.lineage.materializations import MaterializationRecord
from plumbline.release.promotion import promote
from tests.unit.release.signing.signing_world import build


@pytest.fixture
def world(tmp_path, monkeypatch):
    monkeypatch.delenv("PLUMBLINE_TRUST", raising=False)
    return build(tmp_path / "home")


def release(world, **changes):
    """The production of a release that rests on a review and an approval, with changed fields."""
    now = datetime.now(UTC)
    envelopes = [world.review("Rita", now=now), world.approve("Ana", now=now)]
    parts = {"policy": world.parts["aligned_policy"], "decision": world.decision}
    made = promote(
        world.ledger,
        "sandbox",
        **parts,
        recipe="dpo",
        released_by="gates",
        by=("Ana", "Rita"),
        reason="passed",
    )
    content = {
        "promotion": made.model_dump(mode="json"),
        "signatures": [{"envelope": one} for one in envelopes],
        **changes,
    }
    return publish(world, json.dumps(content).encode())


def publish(world, content):
    digest = world.publish(
        "release", {"release.json": content}, ("release_decision", "aligned_policy")
    )
    return MaterializationRecord(
        artifact=digest,
        kind="release",
        asset="released_policy",
        partition="dpo",
        dagster_run="run",
        data_version=world.store.manifest(digest).tree,
        spec=None,
        mlflow_run=None,
        dvc=None,
        cached=False,
    )


def said(world, production):
    return [finding.what for finding in cross_check_ledger(world.layout)(production)]


@pytest.mark.requirement("E6")
def test_a_recorded_release_is_confirmed_and_nothing_else_is_asked_about(world):
    production = release(world)
    assert said(world, production) == []
    assert said(world, production.model_copy(update={"kind": "held_out_evals"})) == []


@pytest.mark.threat("G2")
def test_a_release_that_the_ledger_does_not_know_is_found(world):
    """Somebody writes a release artifact by hand, with a promotion that never was."""
    honest = release(world)
    content = json.loads(
        (world.layout.store / "trees" / honest.data_version[7:] / "release.json").read_bytes()
    )
    content["promotion"] |= {"number": 2, "policy": "sha256:" + "0" * 64}
    assert said(world, publish(world, json.dumps(content).encode())) == [
        "the ledger records no such promotion"
    ]


@pytest.mark.threat("G2")
def test_a_release_without_signatures_is_found(world):
    assert said(world, release(world, signatures=[])) == ["the release rests on no signature"]


@pytest.mark.parametrize("how", ["removed", "edited"])
def test_a_signature_that_is_gone_or_changed_is_found(world, how):
    production = release(world)
    path = sorted(world.signatures.glob("*.json"))[0]
    path.chmod(0o644)
    (
        path.unlink()
        if how == "removed"
        else path.write_bytes(path.read_bytes().replace(b"payload", b"Payload"))
    )
    (finding,) = said(world, production)
    assert "its envelope is missing from the store, or was changed" in finding


def test_a_ledger_that_was_taken_away_is_found(world):
    production = release(world)
    for path in world.layout.root.glob("ledger.db*"):
        path.unlink()
    assert "the ledger records no such promotion" in said(world, production)


@pytest.mark.parametrize(
    "content", [b"{}", b"[]", b"no JSON", b'{"promotion": {}, "signatures": []}']
)
def test_a_release_that_says_nothing_is_found(world, content):
    (finding,) = said(world, publish(world, content))
    assert "names no promotion and signatures" in finding


def test_what_is_wrong_is_said_once_for_several_productions(world):
    production = release(world, signatures=[])
    witness = cross_check_ledger(world.layout)
    assert len(witness(production)) == 1
    assert witness(production.model_copy(update={"dagster_run": "again"})) == []
