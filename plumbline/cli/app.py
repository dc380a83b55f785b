"""The `plumbline` command line.

Nothing here imports Dagster or MLflow. The installed command adds them as witnesses of a lineage
(see `dagster_project.commands.cli`); `python -m plumbline` is the same command line without them.

Exit codes: 0 done and verified; 2 wrong input or nothing found; 3 something in a lineage is missing
or disagrees.
"""

import traceback
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from plumbline import __version__
from plumbline.cli.commands import COMMANDS, GROUPS, MOVED
from plumbline.cli.lazy import LazyCommand, MovedCommand, lazy_group
from plumbline.cli.orchestrator import Orchestrator
from plumbline.errors import LineageError, PlumblineError

WRONG_INPUT, DISAGREES = 2, 3


class PlainErrors(TyperGroup):
    """A command group that tells people what was wrong, without a traceback."""

    def invoke(self, ctx: Any) -> Any:
        """Run the command; errors for people, and files that cannot be read, end in a message and
        an exit code."""
        try:
            return super().invoke(ctx)
        except (PlumblineError, OSError) as error:
            if isinstance(error, BrokenPipeError):
                raise
            if ctx.params.get("debug"):
                traceback.print_exception(error)
            typer.echo(f"error: {error}", err=True)
            raise typer.Exit(
                DISAGREES if isinstance(error, LineageError) else WRONG_INPUT
            ) from error


class CommandLine(PlainErrors):
    """Every group and command by its name, and the old names."""

    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        for name, (help, entries) in GROUPS.items():
            self.add_command(lazy_group(name, help, entries))
        for name, entry in COMMANDS.items():
            self.add_command(LazyCommand(name, entry))
        for name, place in MOVED.items():
            self.add_command(MovedCommand(name, place))


def build_app(orchestrator: Orchestrator | None = None) -> typer.Typer:
    """The command line; without an orchestrator it works on the store alone."""
    app = typer.Typer(
        name="plumbline",
        cls=CommandLine,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        help=(
            "Preference alignment that you can audit: trace a policy to its evidence, add feedback,"
            " check configuration."
        ),
    )

    @app.callback()
    def options(
        context: typer.Context,
        debug: Annotated[
            bool, typer.Option("--debug", help="Show the traceback of an error.")
        ] = False,
        version: Annotated[
            bool,
            typer.Option(
                "--version",
                help="Show the version and the commit.",
                callback=_show_version,
                is_eager=True,
            ),
        ] = False,
    ) -> None:
        """Options of every command; `PlainErrors` reads them."""
        context.obj = orchestrator or Orchestrator()

    return app


def _show_version(asked: bool) -> None:
    if asked:
        from plumbline.storage.code_identity import head_commit

        commit = head_commit()
        typer.echo(f"plumbline {__version__}" + (f" ({commit[:12]})" if commit else ""))
        raise typer.Exit
