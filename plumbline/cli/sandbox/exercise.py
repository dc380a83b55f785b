"""`plumbline sandbox exercise`: learn the formulas and the judgment by doing; answers are graded
and explained."""

import textwrap
from typing import Annotated

import typer

app = typer.Typer(
    no_args_is_help=True,
    help="Exercises about the formulas and the judgment, graded by the project's own functions.",
)
WRONG = 1
"""Exit code of a wrong answer."""
WIDTH = 100

Name = Annotated[str, typer.Argument(metavar="NAME", help="Name of the exercise, see `list`.")]
Seed = Annotated[
    int,
    typer.Option(
        "--seed", min=0, help="Which numbers are asked about; another one is another question."
    ),
]


@app.command("list")
def list_exercises() -> None:
    """Name all exercises."""
    from plumbline.exercises.catalogue import EXERCISES

    for exercise in EXERCISES.values():
        typer.echo(f"{exercise.name:16} {exercise.kind:9} {exercise.title}")


@app.command()
def show(name: Name, seed: Seed = 0) -> None:
    """Ask the question of an exercise."""
    from plumbline.exercises.catalogue import exercise

    question = exercise(name).question(seed)
    typer.echo(textwrap.fill(question.text, WIDTH))
    expected = " | ".join(question.choices) or "NUMBER"
    typer.echo(f"\nplumbline sandbox exercise check {name} --seed {seed} --answer {expected}")


@app.command()
def check(
    name: Name,
    answer: Annotated[str, typer.Option("--answer", help="A number, or one of the choices.")],
    seed: Seed = 0,
) -> None:
    """Grade an answer and explain it; ends with 1 if it is wrong."""
    from plumbline.exercises.catalogue import exercise
    from plumbline.exercises.exercise import grade

    verdict = grade(exercise(name).question(seed), answer)
    typer.echo(textwrap.fill(verdict.message, WIDTH))
    if not verdict.right:
        raise typer.Exit(WRONG)
