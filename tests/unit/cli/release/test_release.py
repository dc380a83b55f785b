"""`plumbline release` as a person runs it, on a real home with signatures and a ledger."""

import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.cli.orchestrator import Orchestrator
from plumbline.release.promotion import current_champion, promote
from plumbline.release.registry import DRIFT
from tests.unit.release.signing.signing_world import build, evidence


class Board:
    """A registry that anybody can write on."""

    def __init__(self):
        self.says = None

    def champion(self, profile):
        return self.says

    def follow(self, profile, promotion):
        self.says = None if promotion is None else promotion.policy


@pytest.fixture
def world(tmp_path, monkeypatch):
    """A home in which two candidates were released, one after the other."""
    world = build(tmp_path / "home")
    monkeypatch.setenv("PLUMBLINE_HOME", str(world.layout.root))
    monkeypatch.setenv("PLUMBLINE_PROFILE", "sandbox")
    monkeypatch.setenv("PLUMBLINE_KEYS", str(world.keys))
    release(world)
    world.publish(
        "aligned_policy",
        {"weights": b"better"},
        ("preference_data", "reference_policy"),
        person="Tom",
    )
    evidence(world, "release")
    release(world)
    return world


def release(world):
    now = datetime.now(UTC)
    world.review("Rita", now=now)
    world.approve("Ana", now=now)
    parts = {"policy": world.parts["aligned_policy"], "decision": world.decision}
    promote(
        world.ledger,
        "sandbox",
        **parts,
        recipe="dpo",
        released_by="gates",
        by=("Ana", "Rita"),
        reason="all gates passed",
    )


@pytest.fixture
def board(world):
    board = Board()
    board.says = current_champion(world.ledger, "sandbox").policy
    return board


@pytest.fixture
def run(board):
    def command(*words, expect=0):
        result = CliRunner().invoke(
            build_app(Orchestrator(registry=lambda layout: board)), ["release", *words]
        )
        assert result.exit_code == expect, result.output
        return result.output

    return command


def first(world):
    return json.loads(CliRunner().invoke(build_app(), ["release", "list", "--json"]).output)[-1][
        "decision"
    ]


def test_the_history_names_the_champion_first(run):
    lines = run("list").splitlines()
    assert "promote (champion)" in lines[3]
    assert "Ana, Rita" in lines[3]
    assert [one["number"] for one in json.loads(run("list", "--json"))] == [2, 1]
    assert "nothing of profile 'real-data-cpu' was released yet" in run(
        "list", "--profile", "real-data-cpu"
    )


@pytest.mark.requirement("E6")
def test_a_rollback_is_signed_recorded_and_followed(run, world, board):
    earlier = first(world)
    said = run("rollback", earlier[7:19], "--reason", "it insults people", "--key", "olga")
    assert "Olga rolled 'sandbox' back" in said
    champion = current_champion(world.ledger, "sandbox")
    assert (champion.action, champion.decision, champion.by, champion.reason) == (
        "rollback",
        earlier,
        ("Olga",),
        "it insults people",
    )
    assert board.says == champion.policy
    assert [entry.body["by"] for entry in world.ledger.entries("rollback")] == ["Olga"]
    assert "rollback (champion)" in run("list")


@pytest.mark.threat("G2")
@pytest.mark.parametrize(
    ("key", "why"),
    [
        ("rita", "is no approver or owner"),
        ("eve", "is not in the trust file"),
        ("nobody", "there is no such key"),
    ],
)
def test_only_who_may_rolls_back(run, world, board, key, why):
    before = current_champion(world.ledger, "sandbox")
    assert why in run("rollback", first(world), "--reason", "because", "--key", key, expect=2)
    assert current_champion(world.ledger, "sandbox") == before
    assert board.says == before.policy


@pytest.mark.parametrize(
    ("decision", "why"), [("ffffff", "names 0 releases"), ("", "names 0 releases")]
)
def test_a_rollback_to_nothing_says_what_there_is(run, decision, why):
    assert why in run("rollback", decision, "--reason", "because", "--key", "olga", expect=2)


def test_a_rollback_to_changed_bytes_is_refused(run, world):
    policy = json.loads(run("list", "--json"))[-1]["policy"]
    (world.layout.store / "trees" / world.store.manifest(policy).tree[7:] / "weights").write_bytes(
        b"other"
    )
    before = current_champion(world.ledger, "sandbox")
    assert "were changed after they were written" in run(
        "rollback", first(world), "--reason", "because", "--key", "olga", expect=2
    )
    assert current_champion(world.ledger, "sandbox") == before


@pytest.mark.threat("G2")
def test_a_moved_registry_is_set_back_and_reported(run, world, board):
    assert "registry and ledger agree" in run("reconcile")
    board.says = "sha256:" + "f" * 64
    assert "was set back to the ledger" in run("reconcile", expect=3)
    assert board.says == current_champion(world.ledger, "sandbox").policy
    (entry,) = world.ledger.entries(DRIFT)
    assert entry.body["found"] == "sha256:" + "f" * 64


@pytest.mark.requirement("E15")
def test_a_decision_comes_out_the_same_again(run, world):
    assert "release: the same again from 1 gates and 0 checks" in run("recheck", world.decision)


@pytest.mark.requirement("E15")
def test_a_decision_that_its_evidence_does_not_give_is_found(run, world):
    """A forged decision names the digests of the old evidence, and claims another number for its
    gate."""
    folder, _ = world.store.open(world.decision)
    decision = json.loads((folder / "decision.json").read_bytes())
    decision["gates"][0]["estimate"]["unscored"] = 7
    world.publish(
        "release_decision",
        {"decision.json": json.dumps(decision).encode()},
        ("held_out_evals", "aligned_policy"),
    )
    assert "its evidence gives release" in run("recheck", world.parts["release_decision"], expect=3)


def test_without_a_registry_it_says_so(world):
    result = CliRunner().invoke(build_app(), ["release", "reconcile"])
    assert "the registry was not asked" in result.output
