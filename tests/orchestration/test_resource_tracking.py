"""The MLflow tracker on a real SQLite database."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from plumbline.errors import ConfigError
from resources.home import Home
from resources.tracking import (
    ARTIFACT_TAG,
    SPEC_TAG,
    ExperimentTracker,
    flatten_params,
    mlflow_client,
)

SPEC = "sha256:" + "a" * 64


@pytest.fixture(scope="module")
def home(tmp_path_factory):
    return Home(root=str(tmp_path_factory.mktemp("home")), profile_name="sandbox")


@pytest.fixture(scope="module")
def tracker(home):
    return ExperimentTracker(home=home)


def test_run_holds_what_was_logged_and_its_files_stay_below_home(
    tracker, home, tmp_path, monkeypatch
):
    monkeypatch.chdir(tmp_path)
    receipt = tmp_path / "mask_receipt.json"
    receipt.write_text("{}")
    params = flatten_params(
        {
            "recipe": {"beta": 0.1, "optimizer": {"epochs": 2}},
            "threads": 1,
            "languages": [0.5, 0.5],
            "lora": None,
        }
    )
    assert params == {
        "recipe.beta": "0.1",
        "recipe.optimizer.epochs": "2",
        "threads": "1",
        "languages": "[0.5,0.5]",
        "lora": "null",
    }
    run_id = tracker.start(SPEC, "dpo", params, {"dagster.asset": "aligned_policy"})
    tracker.log_steps(
        run_id,
        [
            {
                "step": step,
                "total": 700,
                "metrics": {"loss": 1 / (step + 1), "margin": float(step), "rows": 3},
            }
            for step in range(700)
        ],
    )
    tracker.finish(
        run_id,
        "FINISHED",
        tags={ARTIFACT_TAG: "sha256:" + "b" * 64},
        files=[receipt],
        facts={"steps": 700},
    )
    client = mlflow_client(home.layout.mlflow_db.parent)
    run = client.get_run(run_id)
    assert run.info.status == "FINISHED"
    assert run.data.params == params
    assert run.data.metrics == {"loss": 1 / 700, "margin": 699.0, "rows": 3.0}
    assert [metric.step for metric in client.get_metric_history(run_id, "loss")] == list(range(700))
    assert (
        run.data.tags.items()
        >= {
            SPEC_TAG: SPEC,
            "dagster.asset": "aligned_policy",
            ARTIFACT_TAG: "sha256:" + "b" * 64,
        }.items()
    )
    attached = {path.name: path for path in home.layout.mlflow_db.parent.rglob("*.json")}
    assert attached.keys() == {"mask_receipt.json", "facts.json"}
    assert json.loads(attached["facts.json"].read_text()) == {"steps": 700}
    assert not (tmp_path / "mlruns").exists()
    assert (
        tracker.url(run_id)
        == f"http://127.0.0.1:5000/#/experiments/{run.info.experiment_id}/runs/{run_id}"
    )


def test_only_finished_runs_are_found_by_their_spec(tracker, home):
    spec = "sha256:" + "c" * 64
    failed, running = tracker.start(spec, "a", {}, {}), tracker.start(spec, "b", {}, {})
    tracker.finish(failed, "FAILED", tags={"plumbline.reason": "out of memory"})
    assert tracker.find(spec) is None
    tracker.finish(running, "FINISHED", tags={})
    assert tracker.find(spec) == running
    other_profile = ExperimentTracker(home=Home(root=home.root, profile_name="real-data-cpu"))
    assert other_profile.find(spec) == running, (
        "the store is shared by profiles, and so are its runs"
    )
    assert other_profile.experiment() != tracker.experiment()


def test_thousand_metrics_take_one_transaction(tracker):
    run_id = tracker.start(SPEC, "quick", {}, {})
    started = time.process_time()
    tracker.log_steps(
        run_id, [{"step": step, "metrics": {"loss": 0.5, "lr": 0.1}} for step in range(500)]
    )
    assert time.process_time() - started < 2, "one call for each value takes 13 s"


@pytest.mark.parametrize("length", [500, 501])
def test_values_are_refused_rather_than_cut(tracker, length):
    params = {"prompt": "x" * length}
    if length == 500:
        run_id = tracker.start(SPEC, "long", params, {"reason": "y" * 5000})
        tags = mlflow_client(tracker.home.layout.mlflow_db.parent).get_run(run_id).data.tags
        assert len(tags["reason"]) == 5000
    else:
        with pytest.raises(ConfigError, match="'prompt' has 501 characters"):
            tracker.start(SPEC, "long", params, {})
        with pytest.raises(ConfigError, match=r"'a\.prompt' has 501 characters"):
            flatten_params({"a": params})
        with pytest.raises(ConfigError, match="'reason' has 5001 characters"):
            tracker.start(SPEC, "long", {}, {"reason": "y" * 5001})


FIRST_USE = """
import sys
from resources.home import Home
from resources.tracking import ExperimentTracker
tracker = ExperimentTracker(home=Home(root=sys.argv[1], profile_name="sandbox"))
run_id = tracker.start("sha256:" + "d" * 64, sys.argv[2], {}, {})
tracker.log_steps(run_id, [{"step": step, "metrics": {"loss": 1.0}} for step in range(200)])
tracker.finish(run_id, "FINISHED", tags={})
print(run_id, tracker.experiment())
"""


@pytest.mark.slow
def test_two_first_uses_at_once(tmp_path):
    root = Path(__file__).parents[2]
    started = [
        subprocess.Popen(
            [sys.executable, "-c", FIRST_USE, str(tmp_path / "home"), name],
            env={**os.environ, "PYTHONPATH": str(root)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for name in ("one", "two")
    ]
    ended = [process.communicate(timeout=120) for process in started]
    assert [process.returncode for process in started] == [0, 0], ended
    runs, experiments = zip(*(out.split() for out, _ in ended), strict=True)
    assert len(set(runs)) == 2
    assert len(set(experiments)) == 1
