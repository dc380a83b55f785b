"""Overlaps: prompts that stand in more than one file."""

from collections.abc import Iterator
from pathlib import Path
from typing import Literal, NamedTuple

from pydantic import TypeAdapter, ValidationError

from plumbline.data.decontamination.contamination import HeldOutIndex, HeldOutMatch
from plumbline.data.formats.reading import import_held_out
from plumbline.data.readers.files import read_rows
from plumbline.data.readers.rows import RejectedRow
from plumbline.errors import DataError
from plumbline.profile.data import ContaminationConfig
from plumbline.profile.sources import SourceFile
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt

Layout = Literal["jsonl", "xstest", "redteam", "hh"]
AT_ONCE = 2048
_TURNS: TypeAdapter[tuple[Message, ...]] = TypeAdapter(tuple[Message, ...])
_CONTEXT = Context(locale="und", domain="unknown", slice="unsliced")


class PromptFile(NamedTuple):
    """The prompts of one file."""

    path: Path
    rows: list[int]
    """Numbers of the rows that hold them, from 1; in a CSV file the header does not count."""
    prompts: list[tuple[Message, ...]]
    left_out: int
    """Rows that hold no prompt that can be read, or repeat an earlier row."""


class Overlap(NamedTuple):
    """A row of one file whose prompt is, contains, or is part of a prompt of another file."""

    row: int
    other_row: int
    kind: str
    share: float
    prompt: tuple[Message, ...]


def read_prompts(path: Path, layout: Layout | None = None) -> PromptFile:
    """The prompts of a file.

    Args:
        path: JSON lines of our own records (events, demonstrations, pairs or held-out prompts), or
            a public file of held-out prompts.
        layout: How the file is written; None goes by its name and, of a CSV file, its header.

    Raises:
        DataError: If the file cannot be read or holds no prompt.
    """
    layout = layout or _layout(path)
    file = _own(path) if layout == "jsonl" else _public(path, layout)
    if not file.prompts:
        raise DataError(
            f"{path}: holds no prompt that can be read as '{layout}'; name the format with --format"
        )
    return file


def overlaps(first: PromptFile, second: PromptFile, rule: ContaminationConfig) -> list[Overlap]:
    """The rows of the second file that overlap with the first, by number, each with the row that it
    resembles most.

    A short prompt inside a longer one is looked for both ways round; a row of the first file that
    only this finds adds the row that it resembles.
    """
    overlapping = {
        row: Overlap(row, other, match.kind, match.share, prompt)
        for row, other, match, prompt in _matches(first, second, rule)
    }
    prompts = dict(zip(second.rows, second.prompts, strict=True))
    for other, row, match, _ in _matches(second, first, rule):
        overlapping.setdefault(row, Overlap(row, other, match.kind, match.share, prompts[row]))
    return [overlapping[row] for row in sorted(overlapping)]


def _matches(
    held_out: PromptFile, file: PromptFile, rule: ContaminationConfig
) -> Iterator[tuple[int, int, HeldOutMatch, tuple[Message, ...]]]:
    """Rows of a file that match a row of the other one, with that row, the match and the prompt."""
    # Ids with the number of the row in front sort like the rows do, so of equal matches the
    # earliest row is named.
    vault = [
        EvalPrompt(id=f"{row:012d}", prompt=prompt, expected="unknown", context=_CONTEXT)
        for row, prompt in zip(held_out.rows, held_out.prompts, strict=True)
    ]
    index = HeldOutIndex(vault, rule)
    for start in range(0, len(file.prompts), AT_ONCE):
        prompts = file.prompts[start : start + AT_ONCE]
        for row, prompt, match in zip(
            file.rows[start : start + AT_ONCE], prompts, index.matches(prompts), strict=True
        ):
            if match is not None:
                yield row, int(match.held_out), match, prompt


def _layout(path: Path) -> Layout:
    if path.suffix.lower() == ".csv":
        try:
            with path.open(encoding="utf-8", errors="replace", newline="") as stream:
                return (
                    "xstest" if stream.readline().startswith("id,prompt,type,label") else "redteam"
                )
        except OSError as error:
            raise DataError(f"{path}: cannot be read: {error.strerror}") from error
    return "redteam" if path.suffix.lower() in (".txt", ".json") else "jsonl"


def _own(path: Path) -> PromptFile:
    rows: list[int] = []
    prompts: list[tuple[Message, ...]] = []
    left_out = 0
    for row in read_rows(path):
        try:
            prompt = (
                () if isinstance(row, RejectedRow) else _TURNS.validate_python(row.value["prompt"])
            )
        except (ValidationError, KeyError, TypeError):
            prompt = ()
        if prompt:
            rows.append(row.number)
            prompts.append(prompt)
        else:
            left_out += 1
    return PromptFile(path, rows, prompts, left_out)


def _public(path: Path, layout: Layout) -> PromptFile:
    imported = import_held_out(
        path.parent, SourceFile(format=layout, path=path.name, suite="compared")
    )
    rejected = {rejection.row for rejection in imported.rejections}
    accepted = [row for row in range(1, imported.report.rows_in + 1) if row not in rejected]
    return PromptFile(path, accepted, [item.prompt for item in imported.items], len(rejected))
