"""MLflow experiment tracking on SQLite, with explicit run ids and no global state.

MLflow is index and display: anyone can change its runs and tags, and it keeps no history of them.
Identity is the artifact store's.
"""

import os
import sqlite3
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import closing
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import dagster as dg
from filelock import FileLock
from pydantic import Field

from plumbline.errors import ConfigError
from plumbline.records import canonical_json
from resources.home import Home

if TYPE_CHECKING:
    from mlflow import MlflowClient

SPEC_TAG = "plumbline.spec"
ARTIFACT_TAG = "plumbline.artifact"
TREE_TAG = "plumbline.tree"

MAX_PARAM = 500
MAX_TAG = 5000
METRICS_PER_BATCH = 1000
PARAMS_PER_BATCH = 100
FLUSH_S = 2.0

Params = Mapping[str, str]


class ExperimentTracker(dg.ConfigurableResource["ExperimentTracker"]):
    """One flat MLflow run for each job, in the experiment that is named after the profile."""

    home: Home
    ui: str = Field(
        default="http://127.0.0.1:5000",
        description="address at which people see MLflow; used in links only",
    )

    def start(self, spec: str, name: str, params: Params, tags: Mapping[str, str]) -> str:
        """Create a running run; returns its id.

        Args:
            spec: Digest of the job spec, kept as the tag `plumbline.spec`.
            name: Name for people.
            params: Flat parameters (see `flatten_params`).
            tags: Further tags.

        Raises:
            ConfigError: If a tag or a parameter is longer than MLflow keeps.
        """
        tags = {SPEC_TAG: spec, **tags}
        _require_short("tag", tags, MAX_TAG)
        client = self._client()
        run_id = str(
            client.create_run(self.experiment(), run_name=name, tags=dict(tags)).info.run_id
        )
        self.log_params(run_id, params)
        return run_id

    def log_params(self, run_id: str, params: Params) -> None:
        """Add parameters to a run; MLflow refuses to change one that is there.

        Raises:
            ConfigError: If a value is longer than MLflow keeps.
        """
        from mlflow.entities import Param

        _require_short("parameter", params, MAX_PARAM)
        entities = [Param(key, value) for key, value in params.items()]
        for start in range(0, len(entities), PARAMS_PER_BATCH):
            self._client().log_batch(run_id, params=entities[start : start + PARAMS_PER_BATCH])

    def log_steps(self, run_id: str, lines: Iterable[Mapping[str, Any]]) -> None:
        """Log the metrics of progress lines (`{"step", "metrics": {name: value}}`), at most a
        thousand values in one transaction.

        A resumed job reports some steps again, with equal values; of one call's lines, the last of
        each step counts.
        """
        from mlflow.entities import Metric

        now = int(time.time() * 1000)
        values = {
            (key, int(line["step"])): float(value)
            for line in lines
            for key, value in line["metrics"].items()
        }
        metrics = [Metric(key, value, now, step) for (key, step), value in values.items()]
        for start in range(0, len(metrics), METRICS_PER_BATCH):
            self._client().log_batch(run_id, metrics=metrics[start : start + METRICS_PER_BATCH])

    def finish(
        self,
        run_id: str,
        status: Literal["FINISHED", "FAILED", "KILLED"],
        *,
        tags: Mapping[str, str],
        files: Sequence[Path] = (),
        facts: Mapping[str, Any] | None = None,
    ) -> None:
        """Tag a run, attach files and the facts as `facts.json`, and end it.

        Raises:
            ConfigError: If a tag is longer than MLflow keeps.
        """
        from mlflow.entities import RunTag

        _require_short("tag", tags, MAX_TAG)
        client = self._client()
        for path in files:
            client.log_artifact(run_id, str(path))
        if facts is not None:
            client.log_text(run_id, canonical_json(facts).decode(), "facts.json")
        if tags:
            client.log_batch(run_id, tags=[RunTag(key, value) for key, value in tags.items()])
        client.set_terminated(run_id, status)

    def find(self, spec: str) -> str | None:
        """The newest finished run of a job spec, in any profile's experiment."""
        client = self._client()
        runs = client.search_runs(
            [experiment.experiment_id for experiment in client.search_experiments()],
            filter_string=f"tags.`{SPEC_TAG}` = '{spec}' and attributes.status = 'FINISHED'",
            order_by=["attributes.start_time DESC"],
            max_results=1,
        )
        return str(runs[0].info.run_id) if runs else None

    def knows(self, run_id: str) -> bool:
        """Whether MLflow still has a run; its database can be deleted, the store's records of it
        cannot."""
        from mlflow.exceptions import MlflowException

        try:
            self._client().get_run(run_id)
        except MlflowException as error:
            if error.error_code == "RESOURCE_DOES_NOT_EXIST":
                return False
            raise
        return True

    def url(self, run_id: str) -> str:
        """The page of a run in MLflow's user interface."""
        experiment = self._client().get_run(run_id).info.experiment_id
        return f"{self.ui}/#/experiments/{experiment}/runs/{run_id}"

    def experiment(self) -> str:
        """Id of the profile's experiment, which is created on first use."""
        return _experiment(self.home.layout.mlflow_db.parent, self.home.profile_name)

    def _client(self) -> "MlflowClient":
        return mlflow_client(self.home.layout.mlflow_db.parent)


class StepStream:
    """Progress lines on their way to MLflow, a batch at most every FLUSH_S seconds."""

    def __init__(self, tracker: ExperimentTracker) -> None:
        self.run_id = ""
        self._tracker = tracker
        self._waiting: list[Mapping[str, Any]] = []
        self._flushed = time.monotonic()

    def add(self, lines: Sequence[Mapping[str, Any]]) -> None:
        """Take new lines; called at every poll, with none when there are none."""
        self._waiting += lines
        if time.monotonic() - self._flushed >= FLUSH_S:
            self.flush()

    def flush(self) -> None:
        """Log what is waiting."""
        if self._waiting:
            self._tracker.log_steps(self.run_id, self._waiting)
        self._waiting = []
        self._flushed = time.monotonic()


def flatten_params(sections: Mapping[str, Any]) -> dict[str, str]:
    """Nested sections as dotted parameters; lists become JSON, null becomes `null`.

    Raises:
        ConfigError: If a value has more characters than MLflow shows: it must be put into a file,
            not cut.
    """
    flat = dict(_flat(sections, ""))
    _require_short("parameter", flat, MAX_PARAM)
    return flat


def _flat(sections: Mapping[str, Any], prefix: str) -> Iterator[tuple[str, str]]:
    for key, value in sections.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{key}.")
        else:
            yield (
                f"{prefix}{key}",
                value if isinstance(value, str) else canonical_json(value).decode().strip(),
            )


def _require_short(what: str, values: Mapping[str, str], limit: int) -> None:
    for key, value in values.items():
        if len(value) > limit:
            raise ConfigError(
                f"MLflow {what} '{key}' has {len(value)} characters, at most {limit} are kept:"
                " record its digest and attach the value as a file"
            )


@cache
def mlflow_client(folder: Path) -> "MlflowClient":
    """The client of the database in a folder; created and migrated under a lock, because two first
    uses at once would both migrate it."""
    os.environ["MLFLOW_DISABLE_TELEMETRY"] = "true"
    os.environ["MLFLOW_ALLOW_PICKLE_DESERIALIZATION"] = "false"
    os.environ["MLFLOW_TRUNCATE_LONG_VALUES"] = "false"
    os.environ.setdefault("MLFLOW_LOGGING_LEVEL", "WARNING")
    folder.mkdir(parents=True, exist_ok=True)
    database = folder / "mlflow.db"
    with FileLock(folder / "init.lock"):
        from mlflow import MlflowClient

        with closing(sqlite3.connect(database)) as connection:
            # readers, as the user interface, do not stop a writer
            connection.execute("PRAGMA journal_mode=WAL")
        uri = f"sqlite:///{database}"
        client = MlflowClient(tracking_uri=uri, registry_uri=uri)
        client.search_experiments(max_results=1)
        client.search_registered_models(max_results=1)
    return client


@cache
def _experiment(folder: Path, name: str) -> str:
    client = mlflow_client(folder)
    with FileLock(folder / "init.lock"):
        experiment = client.get_experiment_by_name(name)
        if experiment is not None:
            return str(experiment.experiment_id)
        # Without an explicit location, MLflow would write files into ./mlruns of whatever folder
        # the process runs in.
        return str(
            client.create_experiment(name, artifact_location=(folder / "artifacts" / name).as_uri())
        )
