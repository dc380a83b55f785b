"""`plumbline profile`: check profiles, and write the reference page from the schemas."""

import json
from pathlib import Path
from typing import Annotated

import typer

from plumbline.cli.lazy import join_lines
from plumbline.cli.options import layout_of, profile_of
from plumbline.cli.profile.reference_page import configuration_page
from plumbline.errors import ConfigError
from plumbline.profile.profile import CONFIGS, Profile
from plumbline.profile.sources import FilesSource
from plumbline.schema.rubric import load_rubric


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


def list_profiles() -> None:
    """Names of the profiles that PLUMBLINE_PROFILE can be set to."""
    for path in sorted(CONFIGS.glob("*.yaml")):
        typer.echo(path.stem)


def show_schema() -> None:
    """Print the JSON Schema of a profile, for editors."""
    schema = Profile.model_json_schema()
    for described in (schema, *schema["$defs"].values()):
        if "description" in described:
            described["description"] = join_lines(described["description"])
    typer.echo(json.dumps(schema, indent=2, ensure_ascii=False))


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
