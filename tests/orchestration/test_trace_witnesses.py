"""The witnesses against a real Dagster instance and a real MLflow database: a clean record
confirms, every disagreement bites."""

import os

import dagster as dg
import pytest

from dagster_project.automation.cross_checks import cross_check_dagster, cross_check_mlflow
from plumbline.lineage.materializations import MaterializationRecord
from plumbline.records import sha256
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import CodeIdentity

CODE = CodeIdentity(commit="c", dirty=False, source=sha256(b"s"), packages={})
SPEC = sha256(b"spec")
ASSET, PARTITION = "aligned_policy", "dpo"


def publish(store, kind="aligned_policy", content="weights", parents=None, facts=None):
    with store.staging() as folder:
        (folder / "file").write_text(content)
        return store.publish(
            folder,
            kind=kind,
            config=sha256(b"p"),
            code=CODE,
            parents=parents or {},
            facts={"beta": 0.1} if facts is None else facts,
        )


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as instance:
        yield instance


def materialize(instance, digest, tree, partition=PARTITION):
    """Run an asset that says what it is told about its artifact; returns the run."""

    @dg.asset(name=ASSET, partitions_def=dg.StaticPartitionsDefinition([PARTITION, "ipo"]))
    def policy() -> dg.MaterializeResult:
        return dg.MaterializeResult(
            data_version=dg.DataVersion(tree), metadata={"artifact": dg.MetadataValue.text(digest)}
        )

    return dg.materialize([policy], instance=instance, partition_key=partition).run_id


def production(digest, tree, run, **changed):
    fields = {
        "artifact": digest,
        "kind": "aligned_policy",
        "asset": ASSET,
        "partition": PARTITION,
        "dagster_run": run,
        "data_version": tree,
        "spec": SPEC,
    }
    return MaterializationRecord(
        **(fields | {"mlflow_run": None, "dvc": None, "cached": False} | changed)
    )


@pytest.fixture
def made(store, instance):
    digest, artifact = publish(store)
    return production(digest, artifact.tree, materialize(instance, digest, artifact.tree))


def test_dagster_confirms_what_its_run_materialized(instance, made):
    assert cross_check_dagster(instance)(made) == []


def test_dagster_confirms_a_run_that_any_of_the_instances_knows(instance, made):
    with dg.DagsterInstance.ephemeral() as empty:
        assert cross_check_dagster(empty, instance)(made) == []
        [finding] = cross_check_dagster(empty)(made)
        assert finding.what == "Dagster has no such run"


def test_a_repeated_step_of_the_same_run_confirms_by_any_of_its_materializations(instance, made):
    """A retried step materializes twice in one run; `first` is what the run made before."""
    run = made.dagster_run
    again = dg.AssetMaterialization(
        ASSET,
        partition=PARTITION,
        tags={"dagster/data_version": sha256(b"later")},
        metadata={"artifact": "later"},
    )
    instance.report_dagster_event(
        dg.DagsterEvent(
            event_type_value=dg.DagsterEventType.ASSET_MATERIALIZATION.value,
            job_name="job",
            event_specific_data=_materialization_data(again),
        ),
        run,
    )
    assert cross_check_dagster(instance)(made) == []
    [version, artifact] = cross_check_dagster(instance)(
        made.model_copy(update={"data_version": sha256(b"x"), "artifact": sha256(b"y")})
    )
    assert (version.found, artifact.found) == (sha256(b"later"), "later")


def _materialization_data(materialization):
    from dagster._core.events import StepMaterializationData

    return StepMaterializationData(materialization)


def test_a_run_that_is_gone_is_found(instance, made):
    instance.delete_run(made.dagster_run)
    [finding] = cross_check_dagster(instance)(made)
    assert finding.what == "Dagster has no such run"
    assert made.dagster_run in finding.expected
    assert (
        f"productions/{made.artifact.removeprefix('sha256:')}/{made.dagster_run}.json"
        in finding.remedy
    )


@pytest.mark.parametrize(
    "changed", [{"partition": "ipo"}, {"partition": None}, {"asset": "reward_model"}]
)
def test_a_run_that_materialized_something_else_is_found(instance, made, changed):
    [finding] = cross_check_dagster(instance)(made.model_copy(update=changed))
    assert "did not materialize" in finding.what


def test_another_run_of_the_same_asset_does_not_confirm(instance, store, made):
    other = publish(store, content="other")
    run = materialize(instance, other[0], other[1].tree)
    found = cross_check_dagster(instance)(made.model_copy(update={"dagster_run": run}))
    assert [(finding.expected, finding.found) for finding in found] == [
        (made.data_version, other[1].tree),
        (made.artifact, other[0]),
    ]


@pytest.mark.parametrize("claim", ["data version", "artifact"])
def test_a_materialization_reported_from_outside_a_run_is_found(instance, made, claim):
    event = dg.AssetMaterialization(
        ASSET,
        partition=PARTITION,
        tags={"dagster/data_version": made.data_version} if claim == "data version" else {},
        metadata={"artifact": dg.MetadataValue.text(made.artifact)} if claim == "artifact" else {},
    )
    instance.report_runless_asset_event(event)
    [finding] = cross_check_dagster(instance)(made)
    assert "was reported from outside a run" in finding.what


def test_a_reported_materialization_never_stands_in_for_the_run(instance, store):
    digest, artifact = publish(store)
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            ASSET, partition=PARTITION, tags={"dagster/data_version": artifact.tree}
        )
    )
    found = cross_check_dagster(instance)(production(digest, artifact.tree, "no-such-run"))
    assert ["reported from outside a run" in found[0].what, found[1].what] == [
        True,
        "Dagster has no such run",
    ]


def test_a_report_about_other_data_is_not_held_against_the_artifact(instance, made):
    instance.report_runless_asset_event(
        dg.AssetMaterialization(
            ASSET, partition=PARTITION, tags={"dagster/data_version": sha256(b"other")}
        )
    )
    assert cross_check_dagster(instance)(made) == []


def test_records_that_are_not_there_confirm_nothing(made, store, tmp_path):
    [finding] = cross_check_dagster(unread=["home/dagster cannot be read"])(made)
    assert finding.what == "Dagster has no such run (home/dagster cannot be read)"
    database = tmp_path / "mlflow.db"
    [finding] = cross_check_mlflow(f"sqlite:///{database}", store)(
        made.model_copy(update={"mlflow_run": "0" * 32})
    )
    assert f"{database} does not exist" in finding.what
    assert not database.exists()


@pytest.fixture(scope="module")
def tracking(tmp_path_factory):
    """A client of a real database; making one takes seconds, so the tests share it and each makes
    its own run."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    folder = tmp_path_factory.mktemp("mlflow")
    uri = f"sqlite:///{folder / 'mlflow.db'}"
    client = MlflowClient(tracking_uri=uri)
    experiment = client.create_experiment(
        "sandbox", artifact_location=(folder / "artifacts").as_uri()
    )
    return uri, client, experiment


@pytest.fixture
def tracked(store, tracking):
    """Makes a finished run that describes an artifact, except for what the test changes; returns
    the witness and the production."""
    uri, client, experiment = tracking
    digest, artifact = publish(store)

    def make(status="FINISHED", params=(("recipe.beta", "0.1"),), describes=None, **tags):
        described = describes or (digest, artifact.tree)
        right = {
            "plumbline.spec": SPEC,
            "plumbline.artifact": described[0],
            "plumbline.tree": described[1],
        }
        kept = {
            name: value
            for name, value in (
                right | {f"plumbline.{key}": value for key, value in tags.items()}
            ).items()
            if value is not None
        }
        run = client.create_run(experiment, tags=kept).info.run_id
        for key, value in params:
            client.log_param(run, key, value)
        if status != "RUNNING":
            client.set_terminated(run, status)
        return cross_check_mlflow(uri, store), production(
            digest, artifact.tree, "run", mlflow_run=run
        )

    return make


@pytest.mark.parametrize(
    "params", [[("recipe.beta", "0.1")], [("beta", "1e-1"), ("recipe.optimizer.beta2", "0.98")]]
)
def test_mlflow_confirms_a_finished_run_that_agrees(tracked, params):
    witness, made = tracked(params=params)
    assert witness(made) == []


def test_mlflow_is_not_asked_about_an_artifact_without_a_run(tmp_path, store):
    database = tmp_path / "nothing.db"
    assert (
        cross_check_mlflow(f"sqlite:///{database}", store)(
            production(sha256(b"a"), sha256(b"t"), "run")
        )
        == []
    )
    assert not database.exists()


def test_a_run_that_mlflow_does_not_have_is_found(tracked):
    witness, made = tracked()
    [finding] = witness(made.model_copy(update={"mlflow_run": "0" * 32}))
    assert finding.what == "MLflow has no such run"


@pytest.mark.parametrize("status", ["RUNNING", "FAILED", "KILLED"])
def test_a_run_that_did_not_finish_is_found(tracked, status):
    witness, made = tracked(status=status)
    [finding] = witness(made)
    assert (finding.expected, finding.found) == ("FINISHED", status)


@pytest.mark.parametrize("tag", ["spec", "artifact", "tree"])
@pytest.mark.parametrize("value", [sha256(b"other"), None])
def test_a_tag_that_disagrees_or_is_missing_is_found(tracked, tag, value):
    witness, made = tracked(**{tag: value})
    [finding] = witness(made)
    assert finding.what.endswith(f"tag plumbline.{tag}")
    assert finding.found == value


@pytest.mark.parametrize(
    "params",
    [
        [],
        [("recipe.beta", "0.5")],
        [("recipe.beta", "much")],
        [("recipe.beta", "0.1"), ("beta", "0.2")],
        [("beta2", "0.1")],
    ],
)
def test_a_beta_that_disagrees_or_is_missing_is_found(tracked, params):
    witness, made = tracked(params=params)
    [finding] = witness(made)
    assert finding.what.endswith("parameter beta")
    assert finding.expected == "0.1"


@pytest.mark.parametrize(
    ("run", "cached", "count"), [("run", False, 0), ("earlier", True, 0), ("earlier", False, 1)]
)
def test_a_run_of_another_dagster_run_is_found_unless_the_artifact_was_reused(
    tracked, tracking, run, cached, count
):
    witness, made = tracked()
    tracking[1].set_tag(made.mlflow_run, "dagster.run", run)
    found = witness(made.model_copy(update={"cached": cached}))
    assert [finding.what.endswith("tag dagster.run") for finding in found] == [True] * count


def test_a_deleted_run_is_found(tracked, tracking):
    witness, made = tracked()
    tracking[1].delete_run(made.mlflow_run)
    [finding] = witness(made)
    assert finding.found == "deleted"


def test_the_run_of_an_eval_report_describes_the_samples_it_was_made_from(tracked, store):
    samples, described = publish(store, kind="samples", content="samples", facts={})
    evals, artifact = publish(
        store, kind="held_out_evals", content="report", parents={"samples": samples}, facts={}
    )
    witness, made = tracked(params=(), describes=(samples, described.tree))
    made = made.model_copy(update={"artifact": evals, "data_version": artifact.tree})
    assert witness(made) == []
    witness, made = tracked(params=(), describes=(samples, artifact.tree))
    [finding] = witness(made.model_copy(update={"artifact": evals, "data_version": artifact.tree}))
    assert finding.what.endswith("tag plumbline.tree")
