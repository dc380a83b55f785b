"""`plumbline profile` and `plumbline rubric`: check configuration files, and write the reference
page from the schemas."""

import json
from pathlib import Path
from typing import Annotated

import typer

from plumbline.cli.options import layout_of, profile_of
from plumbline.cli.people import proposals
from plumbline.cli.profile.reference_page import configuration_page
from plumbline.errors import ConfigError
from plumbline.profile.profile import CONFIGS, Profile
from plumbline.profile.sources import FilesSource, SourceFile
from plumbline.schema.rubric import load_rubric

profile_app = typer.Typer(no_args_is_help=True, help="Check profiles and print their schema.")
rubric_app = typer.Typer(no_args_is_help=True, help="Check rubrics, and propose to revise them.")
rubric_app.add_typer(proposals.app, name="proposals")


@profile_app.command("check")
def check_profile(
    name: Annotated[
        str | None, typer.Argument(help="Profile; left out: the one of PLUMBLINE_PROFILE.")
    ] = None,
) -> None:
    """Validate a profile with the rubric and the suites it names, and print its digest."""
    from plumbline.schema.suites import load_suite

    profile = profile_of(layout_of(None, name))
    rubric = load_rubric(CONFIGS / profile.rubric)
    suites = {
        load_suite(CONFIGS / path).name
        for path in (profile.demonstrations.suite, profile.preferences.suite)
    }
    typer.echo(f"{profile.name}: valid\n  {profile.description}")
    rows = {
        "digest": profile.digest(),
        "rubric": f"{rubric.label} {rubric.digest()}",
        "suites": ", ".join(sorted(suites)),
        "recipes": (
            ", ".join(
                f"{name} (beta {recipe.beta:g})" for name, recipe in sorted(profile.recipes.items())
            )
            + f"; candidate {profile.candidate}"
        ),
        "gates": f"{len(profile.gates)}: " + ", ".join(gate.id for gate in profile.gates),
        "source": (
            "files below PLUMBLINE_DATA"
            if isinstance(profile.source, FilesSource)
            else "the sandbox"
        ),
    }
    for key, value in rows.items():
        typer.echo(f"  {key:<8} {value}")


@profile_app.command("list")
def list_profiles() -> None:
    """Names of the profiles that PLUMBLINE_PROFILE can be set to."""
    for path in sorted(CONFIGS.glob("*.yaml")):
        typer.echo(path.stem)


@profile_app.command("schema")
def schema() -> None:
    """Print the JSON Schema of a profile, for editors."""
    typer.echo(json.dumps(Profile.model_json_schema(), indent=2, ensure_ascii=False))


@profile_app.command("markdown")
def markdown(
    output: Annotated[
        Path | None,
        typer.Option(
            "--output",
            "-o",
            help="File to write, for example docs/configuration.md; left out: prints.",
        ),
    ] = None,
    check: Annotated[
        bool,
        typer.Option(
            "--check", help="Write nothing; exit code 2 when the file is not what would be written."
        ),
    ] = False,
) -> None:
    """Print or write the reference page of every field of a profile and a rubric, made from the
    schemas."""
    page = configuration_page()
    if output is None:
        typer.echo(page, nl=False)
    elif not check:
        output.write_text(page, encoding="utf-8")
        typer.echo(f"wrote {output}")
    elif not output.is_file() or output.read_text(encoding="utf-8") != page:
        raise ConfigError(
            f"{output} is out of date; run `plumbline profile markdown --output {output}`"
        )


@rubric_app.command("check")
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


@rubric_app.command("actions")
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
