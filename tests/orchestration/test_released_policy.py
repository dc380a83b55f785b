"""What is released, on a real instance, store, ledger and registry: a decision and its signatures,
whatever way the run was started."""

from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from assets.promotion import champion_is_the_recorded_one, released_policy
from dagster_project.automation.releases import keep_champion, promote_when_signed
from plumbline.profile.profile import load_profile
from plumbline.release.promotion import current_champion, promotions
from plumbline.release.registry import reconcile
from plumbline.release.release import override_ended
from resources.home import Home
from resources.registry import ModelRegistry
from tests.unit.release.signing.signing_world import CASES, GATE, build, evidence

PARTITIONED = {"aligned_policy", "held_out_evals", "release_decision", "release_report"}
RECIPES = dg.StaticPartitionsDefinition(["dpo"])


class Shop:
    """A home in which everything up to the decision is there, as if runs had made it."""

    def __init__(self, folder, instance, verdict="release"):
        self.instance, self.home = instance, Home(root=str(folder), profile_name="sandbox")
        self.registry = ModelRegistry(home=self.home)
        self.world = build(folder, verdict)
        self.decide(verdict)

    def decide(self, verdict="release", cases=None):
        """A decision under the profile as it is, and the report on it."""
        evidence(self.world, verdict, cases=cases, profile=self.home.profile().digest())
        self.world.publish(
            "release_report", {"report.html": b"<html></html>"}, ("release_decision",)
        )
        for kind, digest in self.world.parts.items():
            self.materialized(kind, digest)

    def materialized(self, kind, digest):
        partitioned = kind in PARTITIONED

        @dg.asset(name=kind, partitions_def=RECIPES if partitioned else None)
        def artifact():
            return dg.MaterializeResult(metadata={"artifact": dg.MetadataValue.text(digest)})

        assert dg.materialize(
            [artifact], instance=self.instance, partition_key="dpo" if partitioned else None
        ).success

    def sign(self, *people):
        now = datetime.now(UTC)
        for name in people or ("Rita", "Ana"):
            (
                self.world.review(name, now=now)
                if name in ("Rita", "Rob")
                else self.world.approve(name, now=now)
            )

    def promote(self):
        """Materialize released_policy alone, as anybody can in the UI."""
        resources = {"home": self.home, "registry": self.registry}
        graph = [released_policy, champion_is_the_recorded_one]
        return dg.materialize(
            graph,
            instance=self.instance,
            resources=resources,
            partition_key="dpo",
            raise_on_error=False,
        )

    @property
    def champion(self):
        return current_champion(self.home.ledger(), "sandbox")


@pytest.fixture(autouse=True)
def _one_gate(monkeypatch):
    """The profile of the sandbox with the one gate that the made decisions judge by."""
    profile = load_profile("sandbox").model_copy(update={"gates": (GATE,)})
    monkeypatch.setattr("resources.home._profile", lambda _: profile)
    monkeypatch.delenv("PLUMBLINE_TRUST", raising=False)


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as one:
        yield one


@pytest.fixture
def shop(tmp_path, instance):
    return Shop(tmp_path / "home", instance)


def why(result):
    event = next(event for event in result.all_events if event.is_step_failure)
    failure = event.step_failure_data.user_failure_data
    return str(failure.description if failure else event.step_failure_data.error)


def metadata(result):
    (materialization,) = result.asset_materializations_for_node("released_policy")
    return {name: value.value for name, value in materialization.metadata.items()}


@pytest.mark.requirement("E6")
@pytest.mark.threat("G2")
def test_a_passing_decision_alone_releases_nothing(shop):
    said = why(shop.promote())
    assert "1 more accepting review" in said
    assert "1 more approval" in said
    assert shop.champion is None
    assert shop.registry.champion("sandbox") is None


@pytest.mark.requirement("E6")
def test_a_signed_decision_becomes_the_champion(shop):
    shop.sign()
    result = shop.promote()
    assert result.success
    assert shop.champion.policy == shop.world.parts["aligned_policy"]
    assert (shop.champion.released_by, shop.champion.by) == ("gates", ("Ana", "Rita"))
    assert shop.registry.champion("sandbox") == shop.champion.policy
    assert metadata(result)["signed by"] == "Ana, Rita"
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert shop.promote().success, "promoting the champion again changes nothing"
    assert len(promotions(shop.home.ledger(), "sandbox")) == 1


@pytest.mark.threat("G2")
@pytest.mark.parametrize("verdict", ["hold", "reject"])
def test_signatures_do_not_replace_the_gates(tmp_path, instance, verdict):
    shop = Shop(tmp_path / "home", instance, verdict)
    shop.sign()
    assert "override" in why(shop.promote())
    assert shop.champion is None


@pytest.mark.threat("G3")
def test_an_override_releases_and_stands_out(tmp_path, instance):
    shop = Shop(tmp_path / "home", instance, "reject")
    shop.sign()
    shop.world.override("Olga", ["harm"], now=datetime.now(UTC))
    result = shop.promote()
    assert result.success
    assert shop.champion.released_by == "override"
    (override,) = metadata(result)["OVERRIDE"]
    assert (override["by"], override["scope"], override["reason"]) == (
        "Olga",
        ["harm"],
        "Olga answers for it",
    )
    assert shop.registry.pointed_at("sandbox").tags["plumbline.released_by"] == "override"
    (check,) = result.get_asset_check_evaluations()
    assert check.passed
    assert override_ended(shop.home.ledger(), shop.champion, datetime.now(UTC)) is None
    assert "an override, which ended on" in override_ended(
        shop.home.ledger(), shop.champion, datetime.now(UTC) + timedelta(days=8)
    )


@pytest.mark.threat("G3")
def test_an_override_that_ended_releases_nothing(tmp_path, instance):
    shop = Shop(tmp_path / "home", instance, "reject")
    shop.sign()
    shop.world.override("Olga", ["harm"], days=1, now=datetime.now(UTC) - timedelta(days=3))
    assert not shop.promote().success
    assert shop.champion is None


@pytest.mark.parametrize(
    "kind", ["preference_data", "rubric", "reference_policy", "aligned_policy"]
)
def test_signatures_die_when_something_upstream_is_made_anew(shop, kind):
    shop.sign()
    shop.materialized(kind, shop.world.publish(kind, {"content": b"new"}, person="Tom"))
    said = why(shop.promote())
    assert f"{kind}{'[dpo]' if kind == 'aligned_policy' else ''} is now" in said or "belong" in said
    assert shop.champion is None


def test_signatures_die_with_the_decision_they_were_made_on(shop):
    """New failure cases, and with them a new decision: the same two people have to sign again."""
    shop.sign()
    shop.decide(cases=[])
    assert "1 more approval" in why(shop.promote())


@pytest.mark.threat("G4")
def test_a_decision_under_other_gates_is_not_released(shop):
    evidence(shop.world, "release", profile="sha256:" + "0" * 64)
    shop.world.publish("release_report", {"report.html": b"<html></html>"}, ("release_decision",))
    for kind in ("held_out_evals", "release_decision", "release_report"):
        shop.materialized(kind, shop.world.parts[kind])
    shop.sign()
    assert "the profile is now" in why(shop.promote())
    assert shop.champion is None


@pytest.mark.threat("G4")
def test_a_decision_that_judged_by_laxer_gates_is_not_released(shop, monkeypatch):
    """It names the digest of the right profile, as a forged decision would, and its gates are
    others."""
    shop.sign()
    real = load_profile("sandbox").model_copy(
        update={"gates": (GATE.model_copy(update={"threshold": 0.01}),)}
    )
    digest = shop.home.profile().digest()
    monkeypatch.setattr(type(real), "digest", lambda _: digest)
    monkeypatch.setattr("resources.home._profile", lambda _: real)
    assert "judged by other gates than those of the profile" in why(shop.promote())
    assert shop.champion is None


@pytest.mark.threat("G2")
def test_the_sensor_sets_a_moved_alias_back_and_shows_it(shop):
    shop.sign()
    assert shop.promote().success
    other = shop.world.parts["reference_policy"]
    shop.registry.register("sandbox", other, {})
    with dg.build_sensor_context(
        instance=shop.instance, resources={"home": shop.home, "registry": shop.registry}
    ) as context:
        (observation,) = keep_champion(context).asset_events
        assert observation.metadata["found"].value == other
        assert shop.registry.champion("sandbox") == shop.champion.policy
        assert "agree" in keep_champion(context).skip_message
    assert not reconcile(shop.home.ledger(), shop.registry, "sandbox").drifted


def test_the_sensor_promotes_once_and_says_what_it_waits_for(shop):
    def tick(cursor=None):
        with dg.build_sensor_context(
            instance=shop.instance, resources={"home": shop.home}, cursor=cursor
        ) as context:
            return promote_when_signed(context), context.cursor

    waiting, cursor = tick()
    assert "1 more accepting review" in waiting.skip_message
    assert tick(cursor)[0].skip_message == waiting.skip_message
    shop.sign("Rita")
    assert "1 more approval" in tick(cursor)[0].skip_message
    shop.sign("Ana")
    request, _ = tick(cursor)
    assert request.partition_key == "dpo"
    assert "requested before" in tick(cursor)[0].skip_message
    assert shop.promote().success
    assert "was promoted as #1" in tick(cursor)[0].skip_message


def test_a_review_needs_every_one_of_the_worst_cases(shop):
    shop.world.review("Rita", cases=CASES, now=datetime.now(UTC))
    assert "1 more approval" in why(shop.promote())
