"""Rubric, dataset and policy move as one triple: an edit without a new version, and parents of two
versions, stop before anything is spent."""

import dagster as dg
import pytest

import assets.policy
from assets.models import reward_model
from assets.policy import rubric
from plumbline.profile.profile import CONFIGS
from plumbline.records import sha256
from plumbline.schema.rubric import load_rubric
from plumbline.storage.code_identity import code_identity
from resources.home import Home
from resources.launch.launcher import TrainingLauncher
from resources.tracking import ExperimentTracker


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as one:
        yield one


@pytest.fixture
def home(tmp_path):
    return Home(root=str(tmp_path / "home"), profile_name="tiny")


@pytest.fixture
def put_in_force(monkeypatch):
    """Puts a changed rubric in force."""

    def change(**fields):
        policy = load_rubric(CONFIGS / "rubrics/helpful-harmless.yaml").model_copy(update=fields)
        monkeypatch.setattr(assets.policy, "load_rubric", lambda _: policy)

    return change


def failure(result):
    event = next(event for event in result.all_events if event.is_step_failure)
    error = event.step_failure_data.error
    return str(error.cause or error)


def newest(instance, asset):
    return (
        instance.fetch_materializations(dg.AssetKey(asset), limit=1)
        .records[0]
        .asset_materialization.metadata["artifact"]
        .value
    )


@pytest.mark.requirement("S5")
def test_an_edit_without_a_new_version_is_refused(instance, home, put_in_force):
    run = {"instance": instance, "resources": {"home": home}, "raise_on_error": False}
    assert dg.materialize([rubric], **run).success
    put_in_force(owner="somebody else")
    result = dg.materialize([rubric], **run)
    assert not result.success
    assert "helpful-harmless@1 was edited (owner) and kept its version" in failure(result)
    put_in_force(owner="somebody else", version=2)
    assert dg.materialize([rubric], **run).success


@pytest.mark.requirement("S6")
def test_a_model_is_not_trained_from_the_data_of_another_rubric(
    instance, home, put_in_force, tmp_path
):
    """Data and reference policy descend from version 1; version 2 is in force when the reward model
    is asked for."""
    resources = {
        "home": home,
        "launcher": TrainingLauncher(
            home=home,
            tracker=ExperimentTracker(home=home),
            command=["touch", str(tmp_path / "started")],
        ),
    }
    run = {"instance": instance, "resources": resources, "raise_on_error": False}
    assert dg.materialize([rubric], **run).success
    stand_ins = [
        stand_in(home, kind, {"rubric": newest(instance, "rubric")})
        for kind in ("preference_data", "reference_policy")
    ]
    assert dg.materialize(stand_ins, instance=instance).success
    put_in_force(version=2)
    assert dg.materialize([rubric], **run).success
    result = dg.materialize([reward_model], **run)
    assert not result.success
    said = failure(result)
    assert "Rubric, data and policy move together" in said, said
    assert not (tmp_path / "started").exists()


def stand_in(home, kind, parents):
    """An asset whose artifact descends from the given parents, without anything being trained."""
    store = home.store()
    with store.staging() as folder:
        (folder / "file").write_text(kind)
        digest, _ = store.publish(
            folder, kind=kind, config=sha256(b""), code=code_identity(), parents=parents, facts={}
        )

    @dg.asset(name=kind)
    def artifact():
        return dg.MaterializeResult(metadata={"artifact": dg.MetadataValue.text(digest)})

    return artifact
