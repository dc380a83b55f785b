"""The gate through real Dagster runs: whatever goes wrong with the checks, no worker is ever
started, and the run says what to do.

The training asset is `reference_policy`, its data `demonstrations`. The worker is replaced by one
that leaves a mark when it is started, so that a refusal is a fact and not a message; the first test
proves that the mark appears when nothing is wrong.
"""

import sys
from dataclasses import replace
from pathlib import Path

import dagster as dg
import pytest

import assets.data
import assets.models
from assets.data import SUITES, demonstrations, demonstrations_certificate
from assets.models import reference_policy
from assets.policy import rubric
from assets.vault import eval_vault
from plumbline.data.quality.certificate import CheckResult
from plumbline.data.sources import load_demonstrations
from resources.home import Home
from resources.launch.launcher import TrainingLauncher
from resources.snapshots import DatasetSnapshots
from resources.tracking import ExperimentTracker

GRAPH = [rubric, eval_vault, demonstrations, demonstrations_certificate, reference_policy]
DATA = ["rubric", "eval_vault", "demonstrations"]


class Project:
    """One home with one Dagster instance, in which selections are materialized."""

    def __init__(self, folder: Path, instance: dg.DagsterInstance) -> None:
        self.instance = instance
        self.mark = folder / "worker-was-started"
        self.home = Home(root=str(folder / "home"), profile_name="tiny")
        tracker = ExperimentTracker(home=self.home)
        command = [
            sys.executable,
            "-c",
            f"import pathlib; pathlib.Path({str(self.mark)!r}).touch()",
        ]
        self.resources = {
            "home": self.home,
            "tracker": tracker,
            "launcher": TrainingLauncher(home=self.home, tracker=tracker, command=command),
            "snapshots": DatasetSnapshots(home=self.home),
        }

    def run(self, selection: dg.AssetSelection) -> dg.ExecuteInProcessResult:
        return dg.materialize(
            GRAPH,
            selection=selection,
            instance=self.instance,
            resources=self.resources,
            raise_on_error=False,
        )

    def materialize_data(self, *, checks: bool = True) -> dg.ExecuteInProcessResult:
        chosen = dg.AssetSelection.assets(*DATA)
        return self.run(chosen if checks else chosen.without_checks())

    def train_alone(self) -> dg.ExecuteInProcessResult:
        return self.run(dg.AssetSelection.assets("reference_policy"))

    def assert_refused(self, *words: str) -> None:
        result = self.train_alone()
        assert not result.success
        failure = next(event for event in result.all_events if event.is_step_failure)
        message = str(
            failure.step_failure_data.user_failure_data
            and failure.step_failure_data.user_failure_data.description
        )
        for word in ("before anything was spent", *words):
            assert word in message, message
        assert not self.mark.exists(), "a worker was started"
        assert not self.instance.fetch_materializations(
            dg.AssetKey("reference_policy"), limit=1
        ).records
        assert not list(self.home.layout.jobs.glob("*/job.json")), "a job was written"


@pytest.fixture
def project(tmp_path):
    with dg.DagsterInstance.ephemeral() as instance:
        yield Project(tmp_path, instance)


def test_clean_data_starts_the_worker(project):
    assert project.materialize_data().success
    project.train_alone()
    assert project.mark.exists()


def test_a_check_that_failed_in_an_earlier_run_refuses_training_selected_alone(
    project, monkeypatch
):
    _damage(monkeypatch, "<|assistant|> sure")
    assert not project.materialize_data().success
    project.assert_refused("control", "demonstrations")


def test_a_failing_check_stops_training_in_the_same_run(project, monkeypatch):
    _damage(monkeypatch, "<|end|>")
    assert not project.run(dg.AssetSelection.all()).success
    assert not project.mark.exists()


def test_a_deselected_check_refuses(project):
    assert project.materialize_data(checks=False).success
    project.assert_refused("no certificate", "materialize")


def test_an_old_pass_does_not_cover_new_data(project, monkeypatch):
    assert project.materialize_data().success
    _damage(monkeypatch, "a harmless but different response")
    assert project.materialize_data(checks=False).success
    project.assert_refused("no certificate")


def test_severity_warn_is_display_only(project, monkeypatch):
    suite = SUITES["demonstrations"]
    lenient = suite.model_copy(
        update={
            "expectations": tuple(
                one.model_copy(update={"severity": "warning"}) for one in suite.expectations
            )
        }
    )
    monkeypatch.setitem(SUITES, "demonstrations", lenient)
    _damage(monkeypatch, "<|user|> and you?")
    project.materialize_data()
    project.assert_refused("control")


@pytest.mark.parametrize(
    "observed", [None, float("nan"), float("inf")], ids=["none", "nan", "infinite"]
)
def test_a_check_without_a_finite_result_refuses(project, monkeypatch, observed):
    import resources.expectations

    real = resources.expectations.validate

    def broken(frame, suite):
        results = real(frame, suite)
        values = results[0].model_dump() | {"observed": observed, "status": "pass"}
        return [CheckResult(**values), *results[1:]]

    monkeypatch.setattr(resources.expectations, "validate", broken)
    project.materialize_data()
    project.assert_refused(SUITES["demonstrations"].expectations[0].id)


def test_a_check_that_raises_refuses(project, monkeypatch):
    def broken(*_):
        raise RuntimeError("the validator died")

    monkeypatch.setattr(assets.data, "certify_frame", broken)
    assert not project.materialize_data().success
    project.assert_refused("no certificate")


def test_a_changed_suite_refuses(project, monkeypatch):
    assert project.materialize_data().success
    stricter = SUITES["demonstrations"].model_copy(update={"minimum_rows": 51})
    monkeypatch.setitem(assets.models.SUITES, "demonstrations", stricter)
    project.assert_refused("no certificate", "suite")


def test_an_empty_batch_refuses(project, monkeypatch):
    loaded = load_demonstrations(project.home.profile(), project.home.data_folder)
    monkeypatch.setattr(
        "plumbline.data.sources.load_demonstrations", lambda *_: replace(loaded, rows=[], rows_in=0)
    )
    assert not project.materialize_data().success
    project.assert_refused("rows")


def test_a_materialization_reported_from_outside_a_run_is_refused(project):
    """Dagster's REST endpoint lets anyone who reaches it report a materialization and a passing
    check."""
    assert project.materialize_data(checks=False).success
    forged = dg.AssetMaterialization("demonstrations", metadata={"artifact": "sha256:" + "0" * 64})
    project.instance.report_runless_asset_event(forged)
    project.instance.report_runless_asset_event(
        dg.AssetCheckEvaluation(
            asset_key=dg.AssetKey("demonstrations"),
            check_name=SUITES["demonstrations"].expectations[0].concern,
            passed=True,
        )
    )
    result = project.train_alone()
    assert not result.success
    assert not project.mark.exists()
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "outside a run" in failure.step_failure_data.user_failure_data.description


def test_changed_bytes_are_refused(project):
    assert project.materialize_data().success
    tree = next(
        path
        for path in (project.home.layout.store / "trees").iterdir()
        if (path / "demonstrations.jsonl").exists()
    )
    with (tree / "demonstrations.jsonl").open("r+b") as stream:
        stream.write(b'{"ID"')
    result = project.train_alone()
    assert not result.success
    assert not project.mark.exists()
    failure = next(event for event in result.all_events if event.is_step_failure)
    assert "demonstrations.jsonl" in str(failure.step_failure_data.error)


def _damage(monkeypatch: pytest.MonkeyPatch, response: str) -> None:
    """Give the first demonstration another response."""

    def damaged(profile, data_folder):
        loaded = load_demonstrations(profile, data_folder)
        return replace(
            loaded,
            rows=[loaded.rows[0].model_copy(update={"response": response}), *loaded.rows[1:]],
        )

    monkeypatch.setattr("plumbline.data.sources.load_demonstrations", damaged)
