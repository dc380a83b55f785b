"""`plumbline data`: questions about files of data."""

import itertools
import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated

import typer

from plumbline.data.decontamination.overlaps import (
    Layout,
    Overlap,
    PromptFile,
    overlaps,
    read_prompts,
)
from plumbline.errors import ConfigError
from plumbline.profile.data import ContaminationConfig
from plumbline.text.unsafe_characters import escaped

SHOWN = 10
WIDTH = 80


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
    prompts = [read_prompts(path, layout) for path in files]
    pairs = [
        (first, second, overlaps(first, second, rule))
        for first, second in itertools.combinations(prompts, 2)
    ]
    if as_json:
        rows = [_as_json(first, second, row) for first, second, shared in pairs for row in shared]
        typer.echo(json.dumps(rows, indent=2))
        return
    for file in prompts:
        typer.echo(
            f"{file.path.name}: {len(file.prompts)} prompts"
            + (f", {file.left_out} rows left out" if file.left_out else "")
        )
    for first, second, shared in pairs:
        if shared:
            _print_pair(first, second, shared, None if all_ else SHOWN)
    apart = sum(not shared for _, _, shared in pairs)
    if apart:
        typer.echo(f"\nno overlap in {apart} of {len(pairs)} pairs of files")


def _print_pair(
    first: PromptFile, second: PromptFile, shared: Sequence[Overlap], limit: int | None
) -> None:
    kinds = ", ".join(
        f"{count} {kind}" for kind, count in sorted(Counter(row.kind for row in shared).items())
    )
    typer.echo(
        f"\n{second.path.name} in {first.path.name}: {len(shared)} of {len(second.prompts)} rows"
        f" ({kinds})"
    )
    for row in shared[:limit]:
        typer.echo(
            f"  row {row.row} = row {row.other_row}  {row.kind} {row.share:.0%}  {_shown(row)}"
        )
    if limit is not None and len(shared) > limit:
        typer.echo(f"  and {len(shared) - limit} more; --all shows them")


def _as_json(first: PromptFile, second: PromptFile, overlap: Overlap) -> dict[str, object]:
    turns = [message.model_dump() for message in overlap.prompt]
    return {
        "file": str(second.path),
        "row": overlap.row,
        "in": str(first.path),
        "in_row": overlap.other_row,
        "kind": overlap.kind,
        "share": overlap.share,
        "prompt": turns,
    }


def _shown(overlap: Overlap) -> str:
    """The last turn on one line, cut; text that others wrote is escaped."""
    text = escaped(" ".join(overlap.prompt[-1].content.split()))
    return text if len(text) <= WIDTH else text[: WIDTH - 1] + "…"
