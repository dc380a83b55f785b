"""`plumbline ui`: the pages of Dagster and MLflow."""

from typing import Annotated

import typer

from plumbline.cli.orchestrator import orchestrator_of
from plumbline.errors import ConfigError


def ui(
    context: typer.Context,
    port: Annotated[
        int | None,
        typer.Option(
            "--port", help="Dagster's port.", envvar="PLUMBLINE_UI_PORT", show_default="3000"
        ),
    ] = None,
    mlflow_port: Annotated[
        int | None,
        typer.Option(
            "--mlflow-port",
            help="MLflow's port.",
            envvar="PLUMBLINE_MLFLOW_PORT",
            show_default="5000",
        ),
    ] = None,
    read_only: Annotated[
        bool,
        typer.Option(
            "--read-only",
            help="For auditors: nothing can be launched or changed in Dagster, and no daemon runs.",
        ),
    ] = False,
) -> None:
    """Serve the pages of Dagster and MLflow on 127.0.0.1, with the daemon, until Ctrl-C."""
    serve = orchestrator_of(context).ui
    if serve is None:
        raise ConfigError(
            "the installed `plumbline` command starts Dagster and MLflow, `python -m plumbline`"
            " does not"
        )
    raise typer.Exit(serve(port, mlflow_port, read_only))
