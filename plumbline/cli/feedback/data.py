"""`plumbline data`: questions about files of data."""

import itertools
import json
from collections import Counter
from pathlib import Path
from typing import Annotated

import typer

from plumbline.data.decontamination.overlaps import Layout, Overlap, overlaps, read_prompts
from plumbline.errors import ConfigError
from plumbline.profile.data import ContaminationConfig
from plumbline.text.unsafe_characters import escaped

app = typer.Typer(no_args_is_help=True)
SHOWN = 10
WIDTH = 80


@app.callback()
def data() -> None:
    """Questions about files of data."""
    # A typer app of one command without a callback would be that command, and `overlaps` would have
    # no name.


@app.command("overlaps")
def show_overlaps(
    files: Annotated[
        list[Path],
        typer.Argument(
            metavar="FILE FILE...",
            help="Two or more: our own records as .jsonl, XSTest, or red-team prompts.",
        ),
    ],
    layout: Annotated[
        Layout | None,
        typer.Option("--format", help="Format of all files.", show_default="by name and header"),
    ] = None,
    ngram: Annotated[int, typer.Option("--ngram", min=1, help="Words in an n-gram.")] = 8,
    threshold: Annotated[
        float,
        typer.Option(
            "--threshold",
            min=0.01,
            max=1.0,
            help="Share of n-grams in common, of the shorter prompt.",
        ),
    ] = 0.5,
    all_: Annotated[
        bool, typer.Option("--all", help=f"Every row, not only the first {SHOWN} of two files.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Every row, as JSON.")] = False,
) -> None:
    """Name the prompts that stand in more than one file, as they are, with other case or
    punctuation, or as part of a longer one.

    Paraphrases and translations are not found. A row is named once for two files, with the row that
    it resembles most.
    """
    if len(files) < 2:
        raise ConfigError(
            f"overlaps compares two or more files, here is {len(files)}; name another one"
        )
    rule = ContaminationConfig(ngram=ngram, threshold=threshold)
    read = [read_prompts(path, layout) for path in files]
    found = [
        (first, second, overlaps(first, second, rule))
        for first, second in itertools.combinations(read, 2)
    ]
    if as_json:
        typer.echo(
            json.dumps(
                [
                    _as_json(str(first.path), str(second.path), one)
                    for first, second, rows in found
                    for one in rows
                ],
                indent=2,
            )
        )
        return
    for file in read:
        typer.echo(
            f"{file.path.name}: {len(file.prompts)} prompts"
            + (f", {file.left_out} rows left out" if file.left_out else "")
        )
    for first, second, rows in found:
        if not rows:
            continue
        kinds = ", ".join(
            f"{count} {kind}" for kind, count in sorted(Counter(row.kind for row in rows).items())
        )
        typer.echo(
            f"\n{second.path.name} in {first.path.name}: {len(rows)} of {len(second.prompts)} rows"
            f" ({kinds})"
        )
        for row in rows if all_ else rows[:SHOWN]:
            typer.echo(
                f"  row {row.row} = row {row.other_row}  {row.kind} {row.share:.0%}  {_shown(row)}"
            )
        if not all_ and len(rows) > SHOWN:
            typer.echo(f"  and {len(rows) - SHOWN} more; --all shows them")
    apart = sum(not rows for _, _, rows in found)
    if apart:
        typer.echo(f"\nno overlap in {apart} of {len(found)} pairs of files")


def _as_json(first: str, second: str, found: Overlap) -> dict[str, object]:
    turns = [message.model_dump() for message in found.prompt]
    return {
        "file": second,
        "row": found.row,
        "in": first,
        "in_row": found.other_row,
        "kind": found.kind,
        "share": found.share,
        "prompt": turns,
    }


def _shown(found: Overlap) -> str:
    """The last turn on one line, cut; text that others wrote is escaped."""
    text = escaped(" ".join(found.prompt[-1].content.split()))
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
