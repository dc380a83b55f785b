"""Where Plumbline keeps its files: the layout of the home folder, without opening anything in it.

::

    <home>/store/                      artifacts of all profiles
    <home>/mlflow/                     mlflow.db and artifacts/
    <home>/jobs/<spec hex>/            working folders of training jobs
    <home>/remembered/                 held-out prompts that were found in each batch
    <home>/ledger.db                   openings, signatures, routes and promotions of all profiles
    <home>/profiles/<profile>/         feedback.db, trust.json, inbox/, dagster/ and dvc/
"""

import os
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from plumbline.storage.code_identity import ROOT

DEFAULT_PROFILE = "sandbox"


@dataclass(frozen=True)
class HomeLayout:
    """Paths below one home folder for one profile."""

    root: Path
    profile: str = DEFAULT_PROFILE

    @classmethod
    def from_environment(cls, home: Path | None = None, profile: str | None = None) -> Self:
        """The layout that PLUMBLINE_HOME (default `<project>/.plumbline`) and PLUMBLINE_PROFILE
        (default `sandbox`) name; arguments come first."""
        root = home or Path(os.environ.get("PLUMBLINE_HOME") or ROOT / ".plumbline")
        return cls(
            root.expanduser().resolve(),
            profile or os.environ.get("PLUMBLINE_PROFILE") or DEFAULT_PROFILE,
        )

    @property
    def store(self) -> Path:
        """Root of the artifact store."""
        return self.root / "store"

    @property
    def jobs(self) -> Path:
        """Working folders of training jobs, by spec."""
        return self.root / "jobs"

    @property
    def ledger(self) -> Path:
        """SQLite file of the ledger, one for all profiles."""
        return self.root / "ledger.db"

    @property
    def trust(self) -> Path:
        """File that says whose key signs in which role: PLUMBLINE_TRUST, or `trust.json` of the
        profile, so that nobody trusted in a trial counts elsewhere."""
        return Path(
            os.environ.get("PLUMBLINE_TRUST") or self.profile_folder / "trust.json"
        ).expanduser()

    @property
    def mlflow_db(self) -> Path:
        """SQLite file of the MLflow tracking store."""
        return self.root / "mlflow" / "mlflow.db"

    @property
    def mlflow_artifacts(self) -> Path:
        """Folder of the MLflow artifacts."""
        return self.root / "mlflow" / "artifacts"

    @property
    def mlflow_url(self) -> str:
        """Tracking URI of the MLflow store."""
        return f"sqlite:///{self.mlflow_db}"

    @property
    def profile_folder(self) -> Path:
        """What belongs to the profile alone."""
        return self.root / "profiles" / self.profile

    @property
    def feedback_db(self) -> Path:
        """SQLite file of the feedback store, where no other database is named."""
        return self.profile_folder / "feedback.db"

    @property
    def feedback_url(self) -> str:
        """SQLAlchemy URL of the feedback store: PLUMBLINE_FEEDBACK_URL when it is set, else the
        SQLite file of the profile.

        `{profile}` in the variable stands for the name of the profile, so that profiles with one
        database server do not share their feedback.
        """
        return (
            os.environ.get("PLUMBLINE_FEEDBACK_URL") or f"sqlite:///{self.feedback_db}"
        ).replace("{profile}", self.profile)

    @property
    def has_feedback(self) -> bool:
        """False when nobody can have given feedback yet, because there is no database."""
        return bool(os.environ.get("PLUMBLINE_FEEDBACK_URL")) or self.feedback_db.is_file()

    @property
    def inbox(self) -> Path:
        """Folder whose feedback files are taken in."""
        return self.profile_folder / "inbox"

    @property
    def dagster(self) -> Path:
        """DAGSTER_HOME of the profile."""
        return self.profile_folder / "dagster"

    @property
    def dvc(self) -> Path:
        """DVC repository of the profile."""
        return self.profile_folder / "dvc"
