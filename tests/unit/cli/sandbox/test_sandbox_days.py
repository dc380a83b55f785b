"""`plumbline sandbox feedback --days`: the newest policy is found and verified, and each day is one
delivery, received when it ended."""

from datetime import UTC, datetime, timedelta

import pytest
from typer.testing import CliRunner

import plumbline.simulation.rating
from plumbline.cli.app import build_app
from plumbline.data.store.deliveries import Deliveries
from plumbline.data.store.events import FeedbackStore
from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.profile.profile import load_profile
from plumbline.records import sha256
from plumbline.simulation.rollouts import SampledResponses
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import code_identity
from plumbline.storage.home import HomeLayout


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setattr(
        plumbline.simulation.rating,
        "sample_rollouts",
        lambda rollouts: [SampledResponses(texts=("yes.", "no."))] * len(rollouts.prompts),
    )
    return HomeLayout(tmp_path / "home", "tiny")


@pytest.fixture
def run(layout):
    return lambda *arguments: CliRunner().invoke(
        build_app(),
        ["sandbox", "feedback", *arguments, "--home", str(layout.root), "--profile", "tiny"],
    )


@pytest.fixture
def policy(layout):
    """A policy of the profile's candidate recipe, as a run leaves it."""
    store = ArtifactStore(layout.store)
    with store.staging() as folder:
        (folder / "model").mkdir()
        (folder / "model" / "weights").write_text("weights")
        facts = {"chat_template": sha256(b"template")}
        digest, artifact = store.publish(
            folder,
            kind="aligned_policy",
            config=load_profile("tiny").digest(),
            code=code_identity(),
            parents={},
            facts=facts,
        )
    fields = {
        "spec": None,
        "mlflow_run": None,
        "dvc": None,
        "cached": False,
        "asset": "aligned_policy",
        "partition": "dpo",
        "dagster_run": "run",
    }
    write_materialization(
        layout.store,
        MaterializationRecord(
            artifact=digest, kind="aligned_policy", data_version=artifact.tree, **fields
        ),
    )
    return digest


@pytest.mark.requirement("D8")
@pytest.mark.requirement("D10")
def test_each_day_is_a_delivery_that_names_the_policy(run, layout, policy):
    result = run("--days", "2")
    assert result.exit_code == 0, result.output
    store = FeedbackStore(layout.feedback_url)
    first, second = Deliveries(store).history()
    assert {(one.way, one.source) for one in (first, second)} == {("cli", f"sandbox/{policy}")}
    assert second.received_at - first.received_at == timedelta(days=1)
    assert (
        timedelta(hours=24)
        <= datetime.now(UTC) - second.received_at
        < timedelta(hours=24, minutes=5)
    )
    assert store.open_events().events == first.accepted + second.accepted
    assert f"policy {policy} answers the prompts of 2 days" in result.stdout
    batches = store.close_batches(load_profile("tiny").batches, datetime.now(UTC))
    assert store.open_events().events == 0
    sources = {
        response.source.policy
        for batch in batches
        for event in store.batch_events(batch.id)
        for response in event.responses
    }
    assert sources == {policy}
    store.close()


def test_changed_weights_are_not_asked(run, layout, policy):
    tree = ArtifactStore(layout.store).manifest(policy).tree.removeprefix("sha256:")
    (layout.store / "trees" / tree / "model" / "weights").write_text("other weights")
    result = run("--days", "1")
    assert result.exit_code == 2
    assert "changed after" in " ".join(result.stderr.split())


def test_without_a_policy_it_says_what_to_do(run):
    result = run("--days", "1")
    assert result.exit_code == 2
    assert (
        "no run made aligned_policy[dpo] under the profile as it is now; run `make demo`"
        in " ".join(result.stderr.split())
    )


@pytest.mark.parametrize(
    "arguments", [(), ("--count", "1", "--days", "1")], ids=["neither", "both"]
)
def test_count_or_days(run, arguments):
    result = run(*arguments)
    assert result.exit_code == 2
    assert "one of them" in " ".join(result.stderr.split())


def test_the_traffic_decides_about_slices(run, policy):
    result = run("--days", "1", "--slice", "harm-es")
    assert result.exit_code == 2
    assert "leave them out" in " ".join(result.stderr.split())
