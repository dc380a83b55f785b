"""`plumbline profile rubric`: check rubrics, and propose to revise them."""

from pathlib import Path
from typing import Annotated

import typer

from plumbline.cli.options import layout_of, profile_of
from plumbline.cli.profile import proposals
from plumbline.profile.profile import CONFIGS
from plumbline.profile.sources import SourceFile
from plumbline.schema.rubric import load_rubric

app = typer.Typer(no_args_is_help=True, help="Check rubrics, and propose to revise them.")
app.add_typer(proposals.app, name="proposals")


@app.command("check")
def check_rubric(file: Annotated[Path, typer.Argument(help="Rubric file, YAML.")]) -> None:
    """Validate a rubric and print its digest."""
    rubric = load_rubric(file)
    typer.echo(f"{rubric.label}: valid\n  digest   {rubric.digest()}\n  owner    {rubric.owner}")
    typer.echo(
        f"  approval {rubric.approval.approved_by}, {rubric.approval.date}:"
        f" {rubric.approval.reason}"
    )
    for position, name in enumerate(rubric.priorities, 1):
        clause = next(clause for clause in rubric.clauses if clause.id == name)
        typer.echo(
            f"  {position}. {clause.id}: {clause.name} (regression metric:"
            f" {clause.regression_metric})"
        )


@app.command("actions")
def show_actions(
    file: Annotated[
        Path | None,
        typer.Argument(help="Rubric file, YAML; left out: the profile's.", show_default=False),
    ] = None,
    cases: Annotated[
        bool,
        typer.Option(
            "--cases", help="Count the cases of the suite agent-actions that test each row."
        ),
    ] = False,
) -> None:
    """Make the table of allowed and denied actions again from a rubric, as markdown."""
    from plumbline.data.formats.reading import import_held_out
    from plumbline.evaluation.agent_actions.action_table import action_table

    rubric = load_rubric(file or CONFIGS / profile_of(layout_of(None)).rubric)
    suite = (
        import_held_out(CONFIGS, SourceFile(format="jsonl", path="vault/agent-actions.jsonl")).items
        if cases
        else ()
    )
    typer.echo(action_table(rubric, suite))
