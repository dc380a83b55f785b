"""Importers of public formats and of our own; each row is accepted or rejected with a reason, never
dropped."""

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Literal, get_args

from plumbline.data.formats.alpaca import alpaca_demonstration
from plumbline.data.formats.argilla import argilla_event, argilla_judgments
from plumbline.data.formats.fields import csv_rows
from plumbline.data.formats.hh import hh_event, hh_prompt
from plumbline.data.formats.import_report import (
    Attribution,
    Imported,
    ImportedRow,
    collect,
    parse_rows,
    require_file,
)
from plumbline.data.formats.kto import kto_event
from plumbline.data.formats.label_studio import label_studio_event, label_studio_judgments
from plumbline.data.formats.own import own_record
from plumbline.data.formats.prompts import held_out_prompt
from plumbline.data.formats.redteam import redteam_prompt, redteam_rows
from plumbline.data.formats.rewardbench import JudgedPair, rewardbench_pair, rewardbench_prompt
from plumbline.data.formats.sharegpt import sharegpt_event
from plumbline.data.formats.trl import trl_event
from plumbline.data.formats.tulu import tulu_event
from plumbline.data.formats.xstest import XSTEST_COLUMNS, xstest_prompt
from plumbline.data.readers.files import read_rows
from plumbline.data.readers.rows import SUFFIXES, ParsedRow, RejectedRow, Row
from plumbline.errors import ConfigError, DataError
from plumbline.profile.sources import FileFormat, SourceFile
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import IDENTIFIER, content_id
from plumbline.schema.preferences import Demonstration

FeedbackFormat = Literal["jsonl", "hh", "tulu", "sharegpt", "trl", "kto", "argilla", "label-studio"]
FEEDBACK_FORMATS: Final[tuple[FeedbackFormat, ...]] = get_args(FeedbackFormat)


def read_feedback(
    rows: Iterable[Row],
    format: FeedbackFormat,
    attribution: Attribution | None = None,
    limit: int | None = None,
) -> Iterator[ImportedRow[FeedbackEvent] | RejectedRow]:
    """Feedback events of rows, one by one.

    Args:
        rows: Rows of any kind of file, see `plumbline.data.readers.rows`.
        format: What the rows say; `jsonl` is Plumbline's own events.
        attribution: What rows do not say; our own events need none.
        limit: How many rows to take from the start; all by default.

    Raises:
        ConfigError: If the attribution is missing.
    """
    if format == "jsonl":
        return parse_rows(rows, lambda row: own_record(row, FeedbackEvent), limit)
    if attribution is None:
        raise ConfigError(
            f"format '{format}' does not say under which rubric and with which consent it may be"
            " used; give an attribution"
        )
    about = attribution
    match format:
        case "hh":
            return parse_rows(rows, lambda row: hh_event(row.value, about), limit)
        case "tulu":
            return parse_rows(rows, lambda row: tulu_event(row.value, about), limit)
        case "sharegpt":
            return parse_rows(rows, lambda row: sharegpt_event(row.value, about), limit)
        case "trl":
            return parse_rows(rows, lambda row: trl_event(row.value, about), limit)
        case "kto":
            return parse_rows(rows, lambda row: kto_event(row.value, about), limit)
        case "argilla":
            return parse_rows(
                argilla_judgments(rows), lambda row: argilla_event(row.value, about), limit
            )
        case "label-studio":
            return parse_rows(
                label_studio_judgments(rows),
                lambda row: label_studio_event(row.value, about),
                limit,
            )


def feedback_format(source: SourceFile) -> FeedbackFormat:
    """The format of a source of feedback.

    Raises:
        ConfigError: If the format holds no feedback.
    """
    for format in FEEDBACK_FORMATS:
        if format == source.format:
            return format
    raise ConfigError(
        f"source {source.path}: format '{source.format}' holds no feedback; use one of"
        f" {', '.join(FEEDBACK_FORMATS)}"
    )


def feedback_batches(data: Path, source: SourceFile) -> dict[str, Path]:
    """The files of a source by the names of their batches.

    Raises:
        DataError: If there is no file, or two make a batch of one name.
    """
    batches: dict[str, Path] = {}
    for path in feedback_files(data / source.path):
        name = _batch_name(path, data / source.path)
        if name in batches:
            raise DataError(
                f"{path}: another file makes a batch called '{name}' too; rename or remove one of"
                " them"
            )
        batches[name] = path
    return batches


def import_demonstrations(
    data: Path, source: SourceFile, attribution: Attribution
) -> Imported[Demonstration]:
    """Demonstrations of one file.

    Args:
        data: The folder that PLUMBLINE_DATA names.
        source: Format, path below `data`, and how many rows to take from the start.
        attribution: What the file does not say.

    Raises:
        ConfigError: If the format holds none.
        DataError: If there is no file, or it cannot be read.
    """
    path = data / source.path
    match source.format:
        case "alpaca":
            return collect(
                path.name,
                parse_rows(
                    read_rows(require_file(path)),
                    lambda row: alpaca_demonstration(row.value, attribution),
                    source.limit,
                ),
            )
        case "jsonl":
            return collect(
                path.name,
                parse_rows(
                    read_rows(require_file(path)),
                    lambda row: own_record(row, Demonstration),
                    source.limit,
                ),
            )
        case _:
            raise ConfigError(
                f"source {source.path}: format '{source.format}' holds no demonstrations; use"
                " alpaca or jsonl"
            )


def import_held_out(data: Path, source: SourceFile) -> Imported[EvalPrompt]:
    """Held-out prompts of one file, in their suite; arguments and errors as in
    `import_demonstrations`.

    Ids are those of the prompts within the suite, so that one prompt may stand in two suites.
    """
    path = data / source.path
    rows, suite = _held_out_rows(path, source), suite_name(source)
    imported = collect(
        path.name, parse_rows(rows, lambda row: _held_out(row, source.format), source.limit)
    )
    items = tuple(
        item.model_copy(update={"id": content_id([suite, item.id]), "suite": suite})
        for item in imported.items
    )
    return Imported(items, imported.rejections, imported.report)


def import_judged_pairs(data: Path, source: SourceFile) -> Imported[JudgedPair]:
    """Pairs of which people know the better response, of one file; arguments and errors as in
    `import_demonstrations`."""
    if source.format != "rewardbench":
        raise ConfigError(
            f"source {source.path}: format '{source.format}' holds no judged pairs; use rewardbench"
        )
    path = data / source.path
    return collect(
        path.name,
        parse_rows(
            read_rows(require_file(path)), lambda row: rewardbench_pair(row.value), source.limit
        ),
    )


def suite_name(source: SourceFile) -> str:
    """The suite that the prompts of a file belong to: the one that the source names, else its
    format, else the file's own name.

    Raises:
        ConfigError: If the name of the file cannot be that of a suite.
    """
    if source.suite is not None:
        return source.suite
    if source.format in ("xstest", "hh", "rewardbench"):
        return source.format
    stem = Path(source.path).name.split(".")[0].lower()
    if not re.fullmatch(IDENTIFIER, stem):
        raise ConfigError(
            f"source {source.path}: '{stem}' cannot name a suite; give one with `suite`"
        )
    return stem


def _held_out_rows(path: Path, source: SourceFile) -> Iterable[Row]:
    match source.format:
        case "xstest":
            return csv_rows(path, XSTEST_COLUMNS)
        case "redteam":
            return redteam_rows(path)
        case "hh" | "jsonl" | "rewardbench":
            return read_rows(require_file(path))
        case _:
            raise ConfigError(
                f"source {source.path}: format '{source.format}' holds no held-out prompts; use"
                " xstest, redteam, rewardbench, hh or jsonl"
            )


def _held_out(row: ParsedRow, format: FileFormat) -> EvalPrompt:
    match format:
        case "xstest":
            return xstest_prompt(row.value)
        case "redteam":
            return redteam_prompt(row.value)
        case "rewardbench":
            return rewardbench_prompt(row.value)
        case "hh":
            return hh_prompt(row.value)
        case _:
            return held_out_prompt(row)


def feedback_files(root: Path) -> list[Path]:
    """The file, or the files of a folder whose names say how they are written, by name.

    Raises:
        DataError: If there is none.
    """
    if root.is_file():
        return [root]
    files = (
        sorted(path for path in root.glob("*") if path.name.lower().endswith(SUFFIXES))
        if root.is_dir()
        else []
    )
    if not files:
        raise DataError(
            f"{root}: holds no {', '.join(SUFFIXES)} file; PLUMBLINE_DATA must name the folder that"
            " holds the data of this profile"
        )
    return files


def _batch_name(path: Path, root: Path) -> str:
    """The name of a batch: that of the file, and for a file that the source names by itself also
    that of its folder."""
    name = path.name.lower()
    stem = name.removesuffix(
        next(
            (suffix for suffix in sorted(SUFFIXES, key=len, reverse=True) if name.endswith(suffix)),
            "",
        )
    )
    return stem if path != root else f"{path.parent.name.lower()}-{stem}"
