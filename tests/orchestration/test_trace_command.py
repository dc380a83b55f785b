"""The installed `plumbline audit trace` over a home with real Dagster runs and a real MLflow
database."""

import os
import shutil
import subprocess
import sys
from contextlib import closing

import dagster as dg
import pytest
from typer.testing import CliRunner

from dagster_project.commands.cli import witnesses
from plumbline.cli.app import build_app
from plumbline.cli.orchestrator import Orchestrator
from plumbline.lineage.materializations import (
    materialization_file,
    materializations_folder,
    write_materialization,
)
from plumbline.storage.home import HomeLayout
from tests.unit.audit.chain import build


@pytest.fixture(scope="module")
def recorded(tmp_path_factory):
    """A chain whose productions name runs that Dagster and MLflow know."""
    layout = HomeLayout(tmp_path_factory.mktemp("recorded"))
    chain = build(layout.store)
    layout.dagster.mkdir(parents=True)
    (layout.dagster / "dagster.yaml").write_text("telemetry:\n  enabled: false\n")
    with dg.DagsterInstance.from_config(str(layout.dagster)) as instance:
        runs = {}
        for partition in sorted(
            {production.partition for production in chain.productions.values()}, key=str
        ):
            group = [
                production
                for production in chain.productions.values()
                if production.partition == partition
            ]
            run = dg.materialize(
                [_asset(production) for production in group],
                instance=instance,
                partition_key=partition,
            ).run_id
            runs |= {production.artifact: run for production in group}
    client, experiment = _tracker(layout)
    for name, production in chain.productions.items():
        materialization_file(layout.store, production.artifact, production.dagster_run).unlink()
        mlflow_run = (
            None
            if production.mlflow_run is None
            else _mlflow_run(chain, client, experiment, name, production)
        )
        chain.productions[name] = production.model_copy(
            update={"dagster_run": runs[production.artifact], "mlflow_run": mlflow_run}
        )
        write_materialization(layout.store, chain.productions[name])
    return layout, chain


def _asset(production):
    partitions = (
        None
        if production.partition is None
        else dg.StaticPartitionsDefinition([production.partition])
    )

    @dg.asset(name=production.asset, partitions_def=partitions)
    def made() -> dg.MaterializeResult:
        return dg.MaterializeResult(
            data_version=dg.DataVersion(production.data_version),
            metadata={"artifact": dg.MetadataValue.text(production.artifact)},
        )

    return made


def _tracker(layout):
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    from mlflow import MlflowClient

    layout.mlflow_db.parent.mkdir(parents=True)
    client = MlflowClient(tracking_uri=layout.mlflow_url)
    return client, client.create_experiment(
        "sandbox", artifact_location=layout.mlflow_artifacts.as_uri()
    )


def _mlflow_run(chain, client, experiment, name, production):
    """What the launcher records: the run of the evals describes the samples."""
    described = chain.digests["samples"] if name == "held_out_evals" else production.artifact
    tags = {
        "plumbline.spec": production.spec,
        "plumbline.artifact": described,
        "plumbline.tree": chain.store.manifest(described).tree,
    }
    run = client.create_run(experiment, tags=tags).info.run_id
    beta = chain.store.manifest(production.artifact).facts.get("beta")
    if beta is not None:
        client.log_param(run, "recipe.beta", str(beta))
    client.set_terminated(run)
    return run


@pytest.fixture
def home(recorded, tmp_path):
    """A copy that a test may harm."""
    shutil.copytree(recorded[0].root, tmp_path / "home")
    return HomeLayout(tmp_path / "home"), recorded[1]


def trace(layout, chain, *arguments):
    result = CliRunner().invoke(
        build_app(Orchestrator(witnesses)),
        [
            "audit",
            "trace",
            "release",
            chain.digests["release"],
            "--home",
            str(layout.root),
            *arguments,
        ],
    )
    return result.exit_code, result.stdout


def test_a_chain_that_dagster_and_mlflow_confirm_is_verified(recorded):
    code, output = trace(*recorded)
    assert code == 0, output
    assert "checked against DVC, the ledger, Dagster, MLflow" in " ".join(output.split())
    assert "not cross-checked" not in output


def test_the_command_prints_nothing_but_the_trace_and_changes_nothing(recorded):
    layout, chain = recorded
    before = sorted(
        path for path in layout.root.rglob("*") if not path.name.endswith(("-wal", "-shm"))
    )
    arguments = [
        sys.executable,
        "-m",
        "dagster_project.commands.cli",
        "audit",
        "trace",
        "release",
        chain.digests["release"][:16],
        "--home",
        str(layout.root),
    ]
    done = subprocess.run(arguments, capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("release ")
    assert (
        sorted(path for path in layout.root.rglob("*") if not path.name.endswith(("-wal", "-shm")))
        == before
    )


def test_a_run_that_was_deleted_from_dagster_exits_3(home):
    layout, chain = home
    with dg.DagsterInstance.from_config(str(layout.dagster)) as instance:
        instance.delete_run(chain.productions["aligned_policy"].dagster_run)
    code, output = trace(layout, chain)
    assert code == 3
    assert (
        f"aligned_policy {chain.digests['aligned_policy'][7:19]}: Dagster has no such run" in output
    )
    assert trace(layout, chain, "--offline")[0] == 0


def test_a_reported_materialization_exits_3(home):
    layout, chain = home
    policy = chain.productions["aligned_policy"]
    with dg.DagsterInstance.from_config(str(layout.dagster)) as instance:
        tags = {"dagster/data_version": policy.data_version}
        instance.report_runless_asset_event(
            dg.AssetMaterialization(policy.asset, partition=policy.partition, tags=tags)
        )
    code, output = trace(layout, chain)
    assert code == 3
    assert "was reported from outside a run" in " ".join(output.split())


def test_a_changed_tag_in_mlflow_exits_3(home):
    from mlflow import MlflowClient

    layout, chain = home
    MlflowClient(tracking_uri=layout.mlflow_url).set_tag(
        chain.productions["reward_model"].mlflow_run, "plumbline.artifact", chain.digests["rubric"]
    )
    code, output = trace(layout, chain)
    assert code == 3
    assert "tag plumbline.artifact" in " ".join(output.split())


def test_a_changed_beta_in_mlflow_exits_3(home):
    import sqlite3

    layout, chain = home
    with closing(sqlite3.connect(layout.mlflow_db)) as connection, connection:
        assert (
            connection.execute("UPDATE params SET value = '0.5' WHERE key = 'recipe.beta'").rowcount
            == 1
        )
    code, output = trace(layout, chain)
    assert code == 3
    assert "recipe.beta 0.5" in output


@pytest.mark.parametrize("system", ["Dagster", "MLflow"])
@pytest.mark.parametrize("harm", ["missing", "garbage"])
def test_records_that_are_missing_or_damaged_exit_3_without_a_traceback(home, system, harm):
    layout, chain = home
    databases = [layout.mlflow_db] if system == "MLflow" else sorted(layout.dagster.rglob("*.db"))
    assert databases
    if harm == "missing":
        (layout.mlflow_db.unlink if system == "MLflow" else lambda: shutil.rmtree(layout.dagster))()
    for database in databases if harm == "garbage" else []:
        for suffix in ("-wal", "-shm"):
            database.with_name(database.name + suffix).unlink(missing_ok=True)
        database.write_bytes(
            b"this is no database, but it is long enough to be looked at as one" * 40
        )
    code, output = trace(layout, chain)
    assert code == 3, output
    assert f"{system} has no such run" in output or f"{system}'s records cannot be read" in output
    assert trace(layout, chain, "--offline")[0] == 0


def test_a_run_of_another_profile_confirms_because_the_store_is_shared(home):
    layout, chain = home
    (layout.root / "profiles" / "other").mkdir()
    shutil.move(layout.dagster, layout.root / "profiles" / "other" / "dagster")
    assert trace(layout, chain)[0] == 0


def test_every_production_of_an_artifact_is_asked_about(home):
    layout, chain = home
    reused = chain.productions["aligned_policy"].model_copy(
        update={"dagster_run": "never-happened", "cached": True}
    )
    write_materialization(layout.store, reused)
    assert len(list(materializations_folder(layout.store, reused.artifact).iterdir())) == 2
    code, output = trace(layout, chain)
    assert code == 3
    assert "run never-happened" in output
