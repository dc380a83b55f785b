"""The `plumbline` command: the pure command line, with Dagster and MLflow as witnesses of `audit
trace`, MLflow as the registry of `release`, and both behind `ui`.

Dagster and MLflow are imported by the commands that ask them, so that every other one starts
without."""

import os
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING

from plumbline.cli.app import build_app
from plumbline.cli.orchestrator import Orchestrator

if TYPE_CHECKING:
    from plumbline.lineage.findings import Witness
    from plumbline.release.registry import Registry
    from plumbline.storage.home import HomeLayout


def main() -> None:
    """Entry point of the installed command."""
    build_app(Orchestrator(witnesses, registry, ui))()


def ui(port: int | None, mlflow_port: int | None, read_only: bool) -> int:
    """Serve Dagster and MLflow as `make ui` does, and give the exit code."""
    from dagster_project.commands import ui as services

    given = {"--port": port, "--mlflow-port": mlflow_port}
    arguments = [f"{option}={value}" for option, value in given.items() if value is not None]
    return services.main([*arguments, *(["--read-only"] if read_only else [])])


def registry(layout: "HomeLayout") -> "Registry":
    """The MLflow model registry of a home."""
    from resources.home import Home
    from resources.registry import ModelRegistry

    return ModelRegistry(home=Home(root=str(layout.root), profile_name=layout.profile))


def witnesses(layout: "HomeLayout") -> "Mapping[str, Witness]":
    """Dagster and MLflow of a home. Nothing is created: records that are not there confirm nothing,
    which the trace reports.

    The store is shared by all profiles, so that the Dagster instance of every profile is asked, and
    that of DAGSTER_HOME.
    """
    import dagster as dg
    from sqlalchemy.exc import SQLAlchemyError

    from dagster_project.automation.cross_checks import cross_check_dagster, cross_check_mlflow
    from plumbline.storage.artifacts import ArtifactStore

    instances, unread = [], []
    for home in _dagster_homes(layout):
        try:
            instances.append(dg.DagsterInstance.from_config(str(home)))
        except (SQLAlchemyError, dg.DagsterError) as error:
            unread.append(f"{home} cannot be read: {str(error).splitlines()[0]}")
    if not instances and not unread:
        unread.append(f"there is no Dagster instance in {layout.root / 'profiles'}")
    return {
        "Dagster": cross_check_dagster(*instances, unread=unread),
        "MLflow": cross_check_mlflow(layout.mlflow_url, ArtifactStore(layout.store)),
    }


def _dagster_homes(layout: "HomeLayout") -> list[Path]:
    homes = [
        path.parent for path in sorted((layout.root / "profiles").glob("*/dagster/dagster.yaml"))
    ]
    own = os.environ.get("DAGSTER_HOME")
    if own and (Path(own) / "dagster.yaml").is_file() and Path(own).resolve() not in homes:
        homes.append(Path(own))
    return homes


if __name__ == "__main__":
    main()
