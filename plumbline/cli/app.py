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

from plumbline.cli.audit import ledger, trace
from plumbline.cli.evaluation import failures, guardrail, judge, plan, redteam, vault
from plumbline.cli.feedback import data, feedback, flags, serve
from plumbline.cli.learn import exercise, sandbox
from plumbline.cli.people import adjudicate, consent
from plumbline.cli.profile import configuration
from plumbline.cli.release import approve, keys, release, report, review
from plumbline.errors import LineageError, PlumblineError

WRONG_INPUT, DISAGREES = 2, 3

serve.add_to(feedback.app)
flags.add_to(feedback.app)


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


def build_app(
    witnesses: trace.WitnessFactory | None = None, registry: release.RegistryFactory | None = None
) -> typer.Typer:
    """The command line.

    Args:
        witnesses: Gives the systems that `trace` asks beside the store; None leaves them out, and
            `trace` says so.
        registry: Gives the registry that follows the ledger; None leaves it out, and `release` says
            so.
    """
    app = typer.Typer(
        name="plumbline",
        cls=PlainErrors,
        no_args_is_help=True,
        add_completion=False,
        pretty_exceptions_enable=False,
        help=(
            "Preference alignment that you can audit: trace a policy to its evidence, add feedback,"
            " check configuration."
        ),
    )

    @app.callback()
    def options(
        debug: Annotated[
            bool, typer.Option("--debug", help="Show the traceback of an error.")
        ] = False,
    ) -> None:
        """Options of every command; `PlainErrors` reads them."""

    trace.add_to(app, witnesses)
    release.add_to(app, registry)
    app.add_typer(feedback.app, name="feedback")
    app.add_typer(adjudicate.app, name="adjudicate")
    app.add_typer(consent.app, name="consent")
    app.add_typer(data.app, name="data")
    app.add_typer(configuration.profile_app, name="profile")
    app.add_typer(configuration.rubric_app, name="rubric")
    app.add_typer(sandbox.app, name="sandbox")
    app.add_typer(vault.app, name="vault")
    app.add_typer(judge.app, name="judge")
    app.add_typer(guardrail.app, name="guardrail")
    app.add_typer(redteam.app, name="redteam")
    app.add_typer(failures.app, name="failures")
    app.add_typer(exercise.app, name="exercise")
    app.add_typer(ledger.app, name="ledger")
    app.add_typer(keys.key_app, name="key")
    app.add_typer(keys.trust_app, name="trust")
    report.add_to(app)
    review.add_to(app)
    approve.add_to(app)
    plan.add_to(app)
    return app
