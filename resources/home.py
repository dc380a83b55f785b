"""Where Plumbline keeps what it writes, and which profile it runs."""

import os
from pathlib import Path
from typing import Self

import dagster as dg
from pydantic import Field

from plumbline.artifacts import ArtifactStore
from plumbline.code_identity import ROOT
from plumbline.config import CONFIGS, Profile, load_profile
from plumbline.data.store import FeedbackStore
from plumbline.errors import ConfigError
from plumbline.home import HomeLayout


class Home(dg.ConfigurableResource["Home"]):
    """The folders of one installation, seen by one profile.

    ::

        <root>/store/                     artifacts, certificates, productions: shared by all profiles
        <root>/mlflow/                    mlflow.db, artifacts/
        <root>/profiles/<profile>/        feedback.db, dagster/, dvc/
        <root>/jobs/<spec hex>/           one folder for each running or interrupted job
    """

    root: str = Field(description="folder of everything that Plumbline writes (PLUMBLINE_HOME)")
    profile_name: str = Field(description="name of a file in configs/, without .yaml (PLUMBLINE_PROFILE)")
    data: str | None = Field(default=None, description="folder of the files that a profile with source `files` reads (PLUMBLINE_DATA)")
    configs: str = Field(default=str(CONFIGS), description="folder of profiles, rubrics and suites")

    @classmethod
    def from_environment(cls) -> Self:
        """The home that PLUMBLINE_HOME, PLUMBLINE_PROFILE and PLUMBLINE_DATA describe; an empty variable counts as unset."""
        return cls(
            root=str(Path(os.environ.get("PLUMBLINE_HOME") or ROOT / ".plumbline").expanduser().resolve()),
            profile_name=os.environ.get("PLUMBLINE_PROFILE") or "sandbox",
            data=os.environ.get("PLUMBLINE_DATA") or None,
        )

    @property
    def layout(self) -> HomeLayout:
        """Every path below the root."""
        return HomeLayout(self.folder, self.profile_name)

    def feedback(self) -> FeedbackStore:
        """The feedback store of this profile."""
        return FeedbackStore(self.feedback_url)

    @property
    def folder(self) -> Path:
        """The root as a path."""
        return Path(self.root)

    @property
    def profile_folder(self) -> Path:
        """What belongs to this profile alone."""
        return self.folder / "profiles" / self.profile_name

    @property
    def jobs(self) -> Path:
        """Folders of running and interrupted jobs."""
        return self.folder / "jobs"

    @property
    def mlflow(self) -> Path:
        """The experiment tracker's database and files."""
        return self.folder / "mlflow"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME of this profile."""
        return self.profile_folder / "dagster"

    @property
    def dvc(self) -> Path:
        """The DVC repository of this profile's data snapshots."""
        return self.profile_folder / "dvc"

    @property
    def feedback_url(self) -> str:
        """SQLAlchemy URL of the feedback store; its folder exists afterwards."""
        self.profile_folder.mkdir(parents=True, exist_ok=True)
        return f"sqlite:///{self.profile_folder / 'feedback.db'}"

    def store(self) -> ArtifactStore:
        """The artifact store, shared by all profiles."""
        return ArtifactStore(self.folder / "store")

    def profile(self) -> Profile:
        """The validated profile.

        Raises:
            ConfigError: If there is no such profile, or it is invalid.
        """
        return load_profile(self.profile_name, Path(self.configs))

    def data_folder(self) -> Path:
        """The folder of input files.

        Raises:
            ConfigError: If PLUMBLINE_DATA is unset or is no folder.
        """
        if self.data is None:
            raise ConfigError(
                f"profile '{self.profile_name}' reads files, but PLUMBLINE_DATA is not set; "
                "set it to the folder that the profile's paths are relative to, for example PLUMBLINE_DATA=/path/to/data"
            )
        folder = Path(self.data).expanduser().resolve()
        if not folder.is_dir():
            raise ConfigError(f"PLUMBLINE_DATA is {folder}, which is no folder; set it to the folder that the profile's paths are relative to")
        return folder
