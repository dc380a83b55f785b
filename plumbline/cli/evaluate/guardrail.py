"""`plumbline evaluate guardrail`: the runtime threshold with its error rates, and what it says
about a response."""

import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.errors import ConfigError, DataError
from plumbline.records import Record
from plumbline.schema.conversations import Message
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import printable

app = typer.Typer(
    no_args_is_help=True,
    help="The runtime guardrail: its threshold, its error rates, and what it blocks.",
)

FolderOption = Annotated[
    Path | None,
    typer.Option(
        "--folder",
        help="Folder with a copy of the guardrail.",
        show_default="the newest of the profile",
    ),
]


class Exchange(Record):
    """A row of the standard input of `check`."""

    prompt: tuple[Message, ...] | str
    response: str


@app.command()
def show(
    folder: FolderOption = None, home: HomeOption = None, profile: ProfileOption = None
) -> None:
    """The threshold, how it was chosen, and the measured false positives and false negatives by
    slice and tactic."""
    from plumbline.guardrail.build import model_page, read_measurement, read_model

    place = folder or _newest(layout_of(home, profile))
    typer.echo(model_page(read_model(place), read_measurement(place)), nl=False)


@app.command()
def check(
    prompt: Annotated[str | None, typer.Option("--prompt", help="What the person said.")] = None,
    response: Annotated[
        str | None, typer.Option("--response", help="What the policy wants to say.")
    ] = None,
    folder: FolderOption = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Block a response or let it through; without --prompt and --response, each line of the
    standard input is {"prompt": ..., "response": ...}.

    Prints one JSON object for each response: action, score, threshold and the version that decided.
    """
    from plumbline.guardrail.serve import serve

    if (prompt is None) != (response is None):
        raise ConfigError(
            "--prompt and --response belong together: a response is judged by what was asked; give"
            " both, or neither and rows on the standard input"
        )
    served = serve(folder or _newest(layout_of(home, profile)))
    given = (
        iter([Exchange(prompt=prompt, response=response)])
        if prompt is not None and response is not None
        else _exchanges()
    )
    for exchange in given:
        typer.echo(served.judge(exchange.prompt, exchange.response).to_json().decode(), nl=False)


def _exchanges() -> Iterator[Exchange]:
    from plumbline.storage.jsonl import parse_record

    for number, line in enumerate(sys.stdin.buffer, start=1):
        try:
            yield parse_record(line.removesuffix(b"\n"), Exchange)
        except ValueError as error:
            raise DataError(
                f"standard input: row {number}: {printable(str(error))}; correct the row, the rows"
                " before it were judged"
            ) from error


def _newest(layout: HomeLayout) -> Path:
    from plumbline.lineage.newest import newest_artifact
    from plumbline.storage.artifacts import ArtifactStore

    store = ArtifactStore(layout.store)
    digest, _ = newest_artifact(store, "guardrail", profile_of(layout).digest())
    return store.open(digest, kind="guardrail")[0]
