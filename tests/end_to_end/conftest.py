"""A project as a user runs it: commands in processes of their own, a home of its own, a
configuration folder that a test may edit."""

import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import dagster as dg
import pytest

from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout
from resources.tracking import mlflow_client

BIN = Path(sys.executable).parent
ROOT = Path(__file__).resolve().parents[2]


@dataclass
class UserProject:
    """Commands of one user in one home."""

    folder: Path
    profile: str
    binaries: Path = BIN
    root: Path = ROOT

    def __post_init__(self) -> None:
        shutil.copytree(os.environ["PLUMBLINE_CONFIGS"], self.folder / "configs")

    @property
    def layout(self) -> HomeLayout:
        return HomeLayout(self.folder / "home", self.profile)

    @property
    def store(self) -> ArtifactStore:
        return ArtifactStore(self.layout.store)

    @property
    def environment(self) -> dict[str, str]:
        return {
            **os.environ,
            "PLUMBLINE_HOME": str(self.folder / "home"),
            "PLUMBLINE_CONFIGS": str(self.folder / "configs"),
            "PLUMBLINE_PROFILE": self.profile,
            "DAGSTER_HOME": str(self.layout.dagster),
            "NO_COLOR": "1",
            "COLUMNS": "160",
        }

    def run(self, *command: str, expect: int = 0, timeout: float = 600) -> str:
        """Output of a command that must end with this exit code."""
        words = [str(BIN / command[0]), *command[1:]]
        done = subprocess.run(
            words, cwd=ROOT, env=self.environment, capture_output=True, text=True, timeout=timeout
        )
        output = done.stdout + done.stderr
        assert done.returncode == expect, (
            f"{' '.join(command)} ended with {done.returncode}\n{output[-6000:]}"
        )
        return output

    def demo(self, expect: int = 0) -> str:
        return self.run("python", "-m", "dagster_project.commands.demo", expect=expect)

    def instance(self) -> dg.DagsterInstance:
        return dg.DagsterInstance.from_config(str(self.layout.dagster))

    def newest(self, asset: str, partition: str | None = None) -> str:
        """Artifact digest of the newest materialization."""
        with self.instance() as instance:
            records_filter = dg.AssetRecordsFilter(
                asset_key=dg.AssetKey(asset),
                asset_partitions=None if partition is None else [partition],
            )
            record = instance.fetch_materializations(records_filter, limit=1).records[0]
        return str(record.asset_materialization.metadata["artifact"].value)

    def jobs_run(self) -> list[str]:
        """Kinds of the jobs that ever finished, sorted: one MLflow run for each."""
        client = mlflow_client(self.layout.mlflow_db.parent)
        experiment = client.get_experiment_by_name(self.profile)
        runs = client.search_runs([experiment.experiment_id]) if experiment is not None else []
        return sorted(
            run.data.tags["plumbline.kind"] for run in runs if run.info.status == "FINISHED"
        )

    def edit_profile(self, old: str, new: str) -> None:
        path = self.folder / "configs" / f"{self.profile}.yaml"
        text = path.read_text()
        assert old in text, old
        path.write_text(text.replace(old, new))


@pytest.fixture(scope="session")
def user_project():
    """Makes a project in a folder, under a profile."""
    return UserProject


@pytest.fixture(scope="session")
def chain(tmp_path_factory):
    """The tiny profile after one `make demo`; tests go on from there in the order of the files."""
    project = UserProject(tmp_path_factory.mktemp("project"), "tiny")
    project.first_output = project.demo()
    return project
