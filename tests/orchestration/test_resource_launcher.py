"""The launcher's contract, with a worker that keeps or breaks the protocol, and once with the real
one."""

import json
import os
import shutil
import signal
import sqlite3
import sys
import threading
import time
from contextlib import closing

import dagster as dg
import pytest
from dagster._core.errors import DagsterExecutionInterruptedError

from plumbline.data.quality.certificate import CheckResult, certify, write_certificate
from plumbline.errors import ArtifactNotFound, DigestMismatch, TrainingError
from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.profile.models import ScratchModel
from plumbline.profile.training import Hardware, Optimizer, SupervisedRecipe
from plumbline.sandbox.datasets import SandboxOptions, demonstrations
from plumbline.schema.suites import Expectation, Suite
from plumbline.storage.artifacts import write_atomically
from plumbline.storage.code_identity import code_identity, packages_digest
from plumbline.storage.jsonl import write_records
from plumbline.training.job.kinds import METHODS
from plumbline.training.job.spec import JobSpec
from plumbline.training.models.chat_template import template_identity
from resources.home import Home
from resources.launch.launcher import TrainingLauncher
from resources.tracking import ARTIFACT_TAG, ExperimentTracker, mlflow_client

SUITE = Suite(
    name="demonstrations",
    minimum_rows=1,
    expectations=(
        Expectation(
            id="rows",
            type="expect_table_row_count_to_be_between",
            kwargs={"min_value": 1},
            reason="There must be something to learn.",
        ),
    ),
)
OTHER_SUITE = SUITE.model_copy(update={"minimum_rows": 2})
CONFIG = "sha256:" + "c" * 64
MODEL = ScratchModel(
    kind="scratch",
    tokenizer="words",
    vocabulary=None,
    hidden=32,
    layers=1,
    heads=4,
    feed_forward=64,
    init_std=0.1,
    max_length=128,
)
OPTIMIZER = Optimizer(
    epochs=1,
    batch_size=32,
    learning_rate=5e-3,
    warmup_share=0.1,
    weight_decay=0.01,
    beta2=0.98,
    save_every=5,
)

# Writes its mode into `started` in the folder of the script, then keeps the protocol, or breaks it
# where its mode says so. It imports nothing of ours: what an artifact's digests are stands here a
# second time.
WORKER = """
import hashlib, json, os, sys, time
from pathlib import Path
mode, folder = sys.argv[1], Path(sys.argv[2])
with (Path(__file__).parent / "started").open("a") as stream:
    stream.write(mode + "\\n")
job = json.loads((folder / "job.json").read_text())
(Path(__file__).parent / "job.json").write_text(json.dumps(job))
(Path(__file__).parent / "environment.json").write_text(json.dumps(dict(os.environ)))
if mode == "fail":
    sys.exit("the moon is in the wrong house")
(folder / "mask_receipt.json").write_text("{}")
with (folder / "progress.jsonl").open("a") as stream:
    for step in range(3):
        stream.write(json.dumps({"step": step, "total": 3, "metrics": {"loss": 1 / (1 + step)}}) + "\\n"); stream.flush(); time.sleep(0.05)
(folder / "checkpoints").mkdir(exist_ok=True)
(folder / "checkpoints" / "weights").write_text("w")
if mode == "fail-late":
    sys.exit("the loss is not finite")
if mode == "hang":
    time.sleep(60)
if mode == "slow":
    time.sleep(1.5)
(folder / "output" / "model").mkdir(parents=True)
(folder / "output" / "model" / "config.json").write_text(json.dumps(job["spec"]["recipe"]))
def sha256(data):
    return "sha256:" + hashlib.sha256(data).hexdigest()
content = (folder / "output" / "model" / "config.json").read_bytes()
files = {"model/config.json": {"size": len(content), "digest": sha256(content)}}
tree = sha256(json.dumps(files, sort_keys=True, separators=(",", ":")).encode() + b"\\n")
facts = {"steps": 3, "resumed_from": None, "mask": {"train": {"digest": "sha256:0", "supervised": 7, "masked": 9}}, "rows": {"train": {"in": 4, "used": 4}}}
if mode == "tampered":
    (folder / "output" / "model" / "config.json").write_text("{}")
if mode == "extra":
    (folder / "output" / "backdoor.py").write_text("")
if mode != "silent":
    result = {"tree": tree, "files": files, "facts": facts}
    (folder / "result.json").write_text(json.dumps(result) if mode != "gibberish" else "{]")
"""


class Bench:
    """A home with one certified data set, and launches on it."""

    def __init__(self, root, database, rows=4):
        (root / "home" / "mlflow").mkdir(parents=True)
        shutil.copy(database, root / "home" / "mlflow")  # migrating a new one takes seconds
        self.folder = root
        (root / "worker.py").write_text(WORKER)
        self.home = Home(root=str(root / "home"), profile_name="tiny")
        self.tracker = ExperimentTracker(home=self.home)
        self.store = self.home.store()
        with self.store.staging() as folder:
            options = SandboxOptions(seed=3, demonstrations=rows, pairs=rows, prompts_per_slice=1)
            write_records(folder / "demonstrations.jsonl", demonstrations(options))
            self.data, artifact = self.store.publish(
                folder,
                kind="demonstrations",
                config=CONFIG,
                code=code_identity(),
                parents={},
                facts={},
            )
        self.tree = artifact.tree
        self.suite = SUITE

    def certify(self, suite=SUITE, tree=None, status="pass"):
        check = CheckResult(
            id="rows",
            status=status,
            observed=4.0,
            examined=4,
            unexpected=0,
            examples=(),
            message="too few" if status != "pass" else "",
        )
        write_certificate(self.store.root, certify(tree or self.tree, suite, 4, [check]))

    def spec(self, seed=0, suite=SUITE):
        return JobSpec(
            kind="reference_policy",
            inputs={"demonstrations": self.tree},
            certificates={"demonstrations": suite.digest()},
            model=MODEL,
            recipe=SupervisedRecipe(seed=seed, optimizer=OPTIMIZER),
            hardware=Hardware(device="cpu", precision="float32", threads=1),
            rubric="sha256:" + "0" * 64,
            chat_template=template_identity(MODEL),
            source=METHODS[0].source_digest(),
            packages=packages_digest(),
        )

    def launch(
        self,
        mode="good",
        *,
        spec=None,
        parents=None,
        suites=None,
        kind="reference_policy",
        command=None,
        retries=None,
        **arguments,
    ):
        """Materialize an asset that runs the job; returns the outcome, or raises what the step
        raised."""
        command = command or [sys.executable, "-S", str(self.folder / "worker.py"), mode]
        launcher = TrainingLauncher(home=self.home, tracker=self.tracker, command=command)
        outcomes = []

        @dg.asset(retry_policy=retries and dg.RetryPolicy(max_retries=retries))
        def reference_policy(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
            outcomes.append(
                launcher.run(
                    context,
                    spec=spec or self.spec(),
                    parents={"demonstrations": self.data} if parents is None else parents,
                    suites={"demonstrations": self.suite} if suites is None else suites,
                    kind=kind,
                    config_digest=CONFIG,
                    asset="reference_policy",
                    **arguments,
                )
            )
            return dg.MaterializeResult()

        with dg.DagsterInstance.ephemeral() as instance:
            dg.materialize([reference_policy], instance=instance)
        (outcome,) = outcomes
        return outcome

    @property
    def started(self):
        """Modes of the workers that were started."""
        path = self.folder / "started"
        return path.read_text().split() if path.exists() else []


@pytest.fixture(scope="module")
def database(tmp_path_factory):
    folder = tmp_path_factory.mktemp("database")
    mlflow_client(folder)
    with closing(sqlite3.connect(folder / "mlflow.db")) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    return folder / "mlflow.db"


@pytest.fixture
def bench(tmp_path, database):
    return Bench(tmp_path, database)


def test_job_is_published_recorded_and_cleaned_up(bench):
    bench.certify()
    outcome = bench.launch(
        partition="batch-1", params={"gates": {"harm": {"threshold": 0.05}}}, dvc="0" * 32 + ".dir"
    )
    assert (outcome.cached, outcome.steps) == (False, 3)
    folder, artifact = bench.store.open(outcome.digest, "reference_policy")
    assert artifact == outcome.artifact
    assert (artifact.parents, artifact.config, artifact.code) == (
        {"demonstrations": bench.data},
        CONFIG,
        code_identity(),
    )
    assert artifact.facts["steps"] == 3
    assert (
        json.loads((folder / "model" / "config.json").read_text())["optimizer"]["batch_size"] == 32
    )
    assert bench.store.recall(bench.spec().digest()) == outcome.digest
    assert list(bench.home.layout.jobs.iterdir()) == [
        bench.home.layout.jobs / (bench.spec().digest().removeprefix("sha256:") + ".lock")
    ]
    run = mlflow_client(bench.home.layout.mlflow_db.parent).get_run(outcome.mlflow_run)
    assert (run.info.status, run.info.run_name) == ("FINISHED", "reference_policy[batch-1]")
    tags = {
        "plumbline.spec": bench.spec().digest(),
        ARTIFACT_TAG: outcome.digest,
        "plumbline.tree": artifact.tree,
        "plumbline.dvc": "0" * 32 + ".dir",
    }
    tags |= {
        "plumbline.data.demonstrations": bench.tree,
        "dagster.asset": "reference_policy",
        "dagster.partition": "batch-1",
    }
    assert run.data.tags.items() >= tags.items()
    assert run.data.tags["dagster.run"]
    params = {
        "recipe.seed": "0",
        "recipe.optimizer.learning_rate": "0.005",
        "gates.harm.threshold": "0.05",
        "mask.train.supervised": "7",
        "rows.train.in": "4",
    }
    assert run.data.params.items() >= params.items()
    history = mlflow_client(bench.home.layout.mlflow_db.parent).get_metric_history(
        outcome.mlflow_run, "loss"
    )
    assert [(metric.step, metric.value) for metric in history] == [(0, 1.0), (1, 0.5), (2, 1 / 3)]
    assert {
        path.name
        for path in bench.home.layout.mlflow_artifacts.rglob("artifacts/*")
        if path.is_file()
    } == {
        "mask_receipt.json",
        "worker.log",
        "facts.json",
    }


def test_worker_gets_the_job_and_a_reproducible_environment(bench):
    bench.certify()
    bench.launch()
    job = json.loads((bench.folder / "job.json").read_text())
    assert job["store"] == str(bench.store.root)
    assert job["inputs"]["demonstrations"]["files"].keys() == {"demonstrations.jsonl"}
    assert job["suites"]["demonstrations"]["name"] == "demonstrations"
    environment = json.loads((bench.folder / "environment.json").read_text())
    assert (
        environment.items()
        >= {
            "OMP_NUM_THREADS": "1",
            "TOKENIZERS_PARALLELISM": "false",
            "PYTHONHASHSEED": "0",
        }.items()
    )


def other_data(bench):
    bench.certify(tree="sha256:" + "d" * 64)


def failed_earlier(bench):
    bench.certify(status="fail")


def errored(bench):
    bench.certify(status="error")


def none_at_all(bench):
    pass


def other_suite(bench):
    bench.certify(suite=OTHER_SUITE)


def suite_changed_since(bench):
    bench.certify()
    bench.suite = OTHER_SUITE


def unreadable(bench):
    bench.certify()
    (path,) = (bench.store.root / "certificates").iterdir()
    path.write_text("{}")


@pytest.mark.parametrize(
    ("prepare", "says"),
    [
        (failed_earlier, "too few"),
        (errored, "too few"),
        (none_at_all, "there is no certificate"),
        (other_data, "not these"),
        (other_suite, "another suite"),
        (suite_changed_since, "names suite"),
        (unreadable, "not a valid certificate"),
    ],
)
def test_refusal_starts_no_process_and_no_retry(bench, prepare, says):
    prepare(bench)
    with pytest.raises(
        dg.Failure, match=f"(?s)refused before anything was spent.*{says}"
    ) as caught:
        bench.launch(retries=2)
    assert caught.value.allow_retries is False
    assert caught.value.metadata["refused"].value.keys() == {"demonstrations"}
    assert bench.started == []
    assert not bench.home.layout.jobs.exists()
    assert [path.name for path in bench.home.layout.mlflow_db.parent.iterdir()] == ["mlflow.db"], (
        "MLflow was not even opened"
    )


def test_refusal_holds_for_a_cached_job_too(bench):
    bench.certify()
    bench.launch()
    bench.certify(status="fail")
    with pytest.raises(dg.Failure, match="refused"):
        bench.launch()


def test_missing_suite_refuses(bench):
    bench.certify()
    with pytest.raises(dg.Failure, match="was given none"):
        bench.launch(suites={})
    assert bench.started == []


def test_parent_that_is_not_the_input_is_refused(bench):
    bench.certify()
    with pytest.raises(ArtifactNotFound, match="name the artifact of every input"):
        bench.launch(parents={})
    with bench.store.staging() as folder:
        (folder / "demonstrations.jsonl").write_text("")
        other, _ = bench.store.publish(
            folder, kind="demonstrations", config=CONFIG, code=code_identity(), parents={}, facts={}
        )
    with pytest.raises(DigestMismatch, match="build the spec from it"):
        bench.launch(parents={"demonstrations": other})
    assert bench.started == []


def test_same_spec_is_reused_without_a_process_and_another_spec_is_not(bench):
    bench.certify()
    first = bench.launch()
    again = bench.launch("fail")
    assert (again.digest, again.cached, again.steps, again.mlflow_run) == (
        first.digest,
        True,
        0,
        first.mlflow_run,
    )
    assert bench.started == ["good"]
    other = bench.launch(spec=bench.spec(seed=1))
    assert not other.cached
    assert other.artifact.tree != first.artifact.tree
    recorded = bench.tracker.start(bench.spec().digest(), "an earlier run of the same job", {}, {})
    for number, run in enumerate(("deleted-from-mlflow", recorded)):
        production = MaterializationRecord(
            artifact=first.digest,
            kind="reference_policy",
            asset="reference_policy",
            partition=None,
            dagster_run=f"run-{number}",
            data_version=first.artifact.tree,
            spec=bench.spec().digest(),
            mlflow_run=run,
            dvc=None,
            cached=False,
        )
        write_materialization(bench.store.root, production)
        assert bench.launch("fail").mlflow_run == (
            recorded if run == recorded else first.mlflow_run
        )


def test_damaged_result_is_reported_trained_again_and_healed(bench, capfd):
    bench.certify()
    first = bench.launch()
    path = (
        bench.store.root
        / "trees"
        / first.artifact.tree.removeprefix("sha256:")
        / "model"
        / "config.json"
    )
    path.write_text("{}")
    again = bench.launch()
    assert not again.cached
    assert "cannot be reused" in capfd.readouterr().err
    assert again.artifact.tree == first.artifact.tree
    bench.store.open(again.digest)
    assert len(list((bench.store.root / "damaged").iterdir())) == 1
    assert bench.launch("fail").cached


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("fail", "the moon is in the wrong house"),
        ("fail-late", "the loss is not finite"),
        ("tampered", "differing files: model/config.json"),
        ("extra", "differing files: backdoor.py"),
        ("silent", "without a valid result"),
        ("gibberish", "without a valid result"),
    ],
)
def test_failure_publishes_nothing_and_the_mlflow_run_says_why(bench, mode, says):
    bench.certify()
    with pytest.raises(TrainingError, match=says):
        bench.launch(mode)
    assert [bench.store.manifest(digest).kind for digest in bench.store.manifests()] == [
        "demonstrations"
    ]
    assert bench.store.recall(bench.spec().digest()) is None
    client = mlflow_client(bench.home.layout.mlflow_db.parent)
    runs = client.search_runs([bench.tracker.experiment()])
    assert {run.info.status for run in runs} == {"FAILED"}
    assert all(
        says.split(":")[0] in run.data.tags["plumbline.reason"]
        or "failure.txt" in run.data.tags["plumbline.reason"]
        for run in runs
    )
    if mode == "fail-late":
        assert runs[0].data.metrics == {"loss": 1 / 3}
        (folder,) = [path for path in bench.home.layout.jobs.iterdir() if path.is_dir()]
        assert (folder / "checkpoints" / "weights").exists(), "the next attempt resumes from them"
    assert not bench.launch().cached
    assert len(list(bench.home.layout.jobs.iterdir())) == 1


def test_two_runs_of_the_same_job_train_once(bench):
    bench.certify()
    bench.tracker.experiment()
    outcomes = []
    threads = [
        threading.Thread(target=lambda: outcomes.append(bench.launch("slow"))) for _ in range(2)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)
    assert sorted(outcome.cached for outcome in outcomes) == [False, True]
    assert len({outcome.digest for outcome in outcomes}) == 1
    assert bench.started == ["slow"]


def test_interrupted_job_is_recorded_as_killed_and_keeps_its_checkpoints(bench):
    bench.certify()
    folder = bench.home.layout.jobs / bench.spec().digest().removeprefix("sha256:")

    def interrupt():
        deadline = time.monotonic() + 60
        while not (folder / "checkpoints" / "weights").exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        os.kill(os.getpid(), signal.SIGINT)

    threading.Thread(target=interrupt).start()
    with pytest.raises((KeyboardInterrupt, DagsterExecutionInterruptedError)):
        bench.launch("hang")
    (run,) = mlflow_client(bench.home.layout.mlflow_db.parent).search_runs(
        [bench.tracker.experiment()]
    )
    assert run.info.status == "KILLED"
    assert (folder / "checkpoints" / "weights").exists()
    assert bench.store.recall(bench.spec().digest()) is None
    outcome = bench.launch()
    history = mlflow_client(bench.home.layout.mlflow_db.parent).get_metric_history(
        outcome.mlflow_run, "loss"
    )
    assert [metric.step for metric in history] == [
        0,
        1,
        2,
    ], "steps that both attempts report count once"


def test_leftovers_of_an_interrupted_attempt_do_not_reach_the_result(bench):
    bench.certify()
    folder = bench.home.layout.jobs / bench.spec().digest().removeprefix("sha256:")
    (folder / "output").mkdir(parents=True)
    (folder / "output" / "stale.bin").write_text("from before")
    write_atomically(folder / "result.json", b"{}")
    with pytest.raises(TrainingError, match="without a valid result"):
        bench.launch("silent")
    outcome = bench.launch()
    assert outcome.artifact.files.keys() == {"model/config.json"}


@pytest.mark.slow
def test_real_worker_trains_and_its_result_is_reused(tmp_path, database):
    bench = Bench(tmp_path, database, rows=320)
    bench.certify()
    command = TrainingLauncher(home=bench.home, tracker=bench.tracker).command
    outcome = bench.launch(command=command)
    assert outcome.steps > 0
    assert {
        "model/model.safetensors",
        "model/config.json",
        "mask_receipt.json",
    } <= outcome.artifact.files.keys()
    run = mlflow_client(bench.home.layout.mlflow_db.parent).get_run(outcome.mlflow_run)
    assert run.data.metrics["loss"] > 0
    assert any(
        name.startswith("mask.") and name.endswith(".supervised") for name in run.data.params
    )
    assert bench.launch(command=command).cached
    shutil.rmtree(bench.store.root / "certificates")
    with pytest.raises(dg.Failure, match="no certificate"):
        bench.launch(command=command)
