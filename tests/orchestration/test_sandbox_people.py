"""The made-up people of the sandbox sign for the sandbox, and for nothing else."""

import pytest

from dagster_project.commands.sandbox_people import PEOPLE, REASON, sign_for_the_sandbox
from plumbline.errors import ConfigError
from plumbline.release.signing.trust import load_trust
from resources.home import Home
from tests.unit.release.signing.signing_world import build, evidence


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.delenv("PLUMBLINE_TRUST", raising=False)
    return Home(root=str(tmp_path / "home"), profile_name="sandbox")


def decision(home, profile="sandbox"):
    world = build(home.layout.root)
    evidence(
        world, "release", profile=Home(root=home.root, profile_name=profile).profile().digest()
    )
    return world


def test_they_review_and_approve_and_say_that_they_are_made_up(home):
    world = decision(home)
    assert sign_for_the_sandbox(home, world.decision) == tuple(PEOPLE)
    assert {
        entry.body["by"] for kind in ("review", "approval") for entry in home.ledger().entries(kind)
    } == set(PEOPLE)
    assert "made up" in REASON
    before = load_trust(home.layout.trust)
    evidence(world, "release", cases=[], profile=home.profile().digest())
    sign_for_the_sandbox(home, world.decision)
    assert load_trust(home.layout.trust) == before, "they are introduced once"


@pytest.mark.threat("G2")
def test_they_never_sign_for_real_data(home):
    world = decision(home, "real-data-cpu")
    with pytest.raises(ConfigError, match="is no sandbox: people review and approve"):
        sign_for_the_sandbox(Home(root=home.root, profile_name="real-data-cpu"), world.decision)
    assert home.ledger().entries("approval") == ()


@pytest.mark.threat("G2")
def test_they_stay_out_of_a_trust_file_that_somebody_named(home, tmp_path, monkeypatch):
    world = decision(home)
    monkeypatch.setenv("PLUMBLINE_TRUST", str(tmp_path / "trust.json"))
    with pytest.raises(ConfigError, match="stay out of a real trust file"):
        sign_for_the_sandbox(home, world.decision)
    assert not (tmp_path / "trust.json").exists()


def test_nobody_trusted_in_the_sandbox_counts_for_another_profile_of_the_home(home):
    sign_for_the_sandbox(home, decision(home).decision)
    assert load_trust(Home(root=home.root, profile_name="real-data-cpu").layout.trust).people == {}
