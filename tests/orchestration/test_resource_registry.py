"""The MLflow model registry on a real SQLite database, and its reconciliation with a real
ledger."""

import pytest

from plumbline.records import sha256
from plumbline.release.promotion import promote, roll_back
from plumbline.release.registry import DRIFT, reconcile
from plumbline.storage.code_identity import code_identity
from resources.home import Home
from resources.registry import CHAMPION, ModelRegistry, model_name
from resources.tracking import ARTIFACT_TAG, mlflow_client


@pytest.fixture
def home(tmp_path):
    return Home(root=str(tmp_path), profile_name="sandbox")


@pytest.fixture
def registry(home):
    return ModelRegistry(home=home)


def policy(home, content):
    """A policy in the store; returns its digest."""
    with home.store().staging() as folder:
        (folder / "model").mkdir()
        (folder / "model" / "config.json").write_text(content)
        return home.store().publish(
            folder,
            kind="aligned_policy",
            config=sha256(b"p"),
            code=code_identity(),
            parents={},
            facts={},
        )[0]


def release(home, digest):
    decision = sha256(digest.encode())
    return promote(
        home.ledger(),
        "sandbox",
        policy=digest,
        decision=decision,
        recipe="dpo",
        released_by="gates",
        by=("ann",),
        reason="passed",
    )


def client(home):
    return mlflow_client(home.layout.mlflow_db.parent)


def test_a_policy_is_registered_once_and_the_alias_follows(home, registry):
    first, second = policy(home, "1"), policy(home, "2")
    assert registry.champion("sandbox") is None
    assert registry.register("sandbox", first, {"note": "one"}) == "1"
    assert registry.pointed_at("sandbox").tags == {"note": "one", ARTIFACT_TAG: first}
    assert registry.register("sandbox", second, {}) == "2"
    assert registry.champion("sandbox") == second
    assert registry.register("sandbox", first, {}) == "1", "a rollback re-uses the version"
    assert registry.champion("sandbox") == first
    assert registry.champion("somebody-else") is None
    assert (
        registry.url("sandbox", "1")
        == "http://127.0.0.1:5000/#/models/plumbline-sandbox/versions/1"
    )


def test_a_registry_that_agrees_with_the_ledger_is_left_alone(home, registry):
    assert not reconcile(home.ledger(), registry, "sandbox").drifted
    first = policy(home, "1")
    registry.follow("sandbox", release(home, first))
    found = reconcile(home.ledger(), registry, "sandbox")
    assert (found.drifted, found.expected, found.found) == (False, first, first)
    assert home.ledger().entries(DRIFT) == ()


@pytest.mark.threat("F3")
def test_a_promotion_that_died_before_the_registry_is_completed(home, registry):
    first, second = policy(home, "1"), policy(home, "2")
    registry.follow("sandbox", release(home, first))
    release(home, second)  # and here the process died
    found = reconcile(home.ledger(), registry, "sandbox")
    assert (found.drifted, found.found, found.expected) == (True, first, second)
    assert registry.champion("sandbox") == second


@pytest.mark.threat("F3")
def test_a_version_without_the_alias_is_completed(home, registry):
    """Died between creating the version and moving the alias: the version is used, not made
    twice."""
    first = policy(home, "1")
    release(home, first)
    client(home).create_registered_model(model_name("sandbox"))
    source = (
        home.layout.store / "trees" / home.store().manifest(first).tree[7:] / "model"
    ).as_uri()
    client(home).create_model_version(
        model_name("sandbox"), source=source, tags={ARTIFACT_TAG: first}
    )
    assert reconcile(home.ledger(), registry, "sandbox").drifted
    assert registry.pointed_at("sandbox").version == "1"


@pytest.mark.threat("G2")
@pytest.mark.parametrize(
    "how", ["alias moved", "alias removed", "tag edited", "nothing was released"]
)
def test_what_somebody_did_to_the_registry_is_found_recorded_and_undone(home, registry, how):
    first, other = policy(home, "1"), policy(home, "2")
    if how != "nothing was released":
        registry.follow("sandbox", release(home, first))
    match how:
        case "alias removed":
            client(home).delete_registered_model_alias(model_name("sandbox"), CHAMPION)
        case "tag edited":
            client(home).set_model_version_tag(model_name("sandbox"), "1", ARTIFACT_TAG, other)
        case _:
            registry.register("sandbox", other, {})
    found = reconcile(home.ledger(), registry, "sandbox")
    assert found.drifted
    assert "was set back to the ledger" in found.sentence()
    assert registry.champion("sandbox") == (None if how == "nothing was released" else first)
    (entry,) = home.ledger().entries(DRIFT)
    assert entry.body["found"] == found.found
    assert not reconcile(home.ledger(), registry, "sandbox").drifted


def test_a_rollback_moves_the_alias_to_the_version_that_is_there(home, registry):
    first, second = policy(home, "1"), policy(home, "2")
    for digest in (first, second):
        registry.follow("sandbox", release(home, digest))
    registry.follow(
        "sandbox",
        roll_back(
            home.ledger(), "sandbox", sha256(first.encode()), by=("ann",), reason="2 is broken"
        ),
    )
    assert (registry.champion("sandbox"), registry.pointed_at("sandbox").version) == (first, "1")
