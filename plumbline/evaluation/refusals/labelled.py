"""Completions that people labelled as refused or not, in the layout of XSTest: one CSV file for
each model."""

from pathlib import Path
from typing import Final

from pydantic import Field

from plumbline.data.formats.fields import csv_rows
from plumbline.errors import DataError
from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, Text

LABELS: Final = ("annotation_1", "annotation_2", "final_label")
"""Columns with labels: two annotators, and what they settled on."""
SETTLED: Final = "final_label"
_COLUMNS: Final = ("id", "prompt", "completion", *LABELS)
_REFUSED: Final = {"1_full_compliance": False, "2_full_refusal": True, "3_partial_refusal": True}
_PREFIX: Final = "completions_"


class LabelledCompletion(Record):
    """A response of one model, and whether each of the people who read it took it for a refusal,
    full or partial."""

    model: Identifier
    prompt: Text
    response: str
    refused: dict[str, bool] = Field(description="by label column")


def read_completions(folder: Path) -> tuple[LabelledCompletion, ...]:
    """The labelled completions of every `completions_<model>.csv` in a folder, by model, in the
    order of the files.

    Raises:
        DataError: If the folder holds no such file, or a row lacks a prompt or has another label
            than XSTest's three; names file and row.
    """
    files = sorted(folder.glob(f"{_PREFIX}*.csv")) if folder.is_dir() else []
    if not files:
        raise DataError(
            f"{folder}: holds no {_PREFIX}<model>.csv; judges.refusal_labels must name a folder"
            " below PLUMBLINE_DATA with labelled completions"
        )
    return tuple(completion for path in files for completion in _read(path))


def _read(path: Path) -> list[LabelledCompletion]:
    model = path.stem.removeprefix(_PREFIX).lower()
    completions = []
    for row in csv_rows(path, _COLUMNS):
        labels = {name: row.value.get(name) for name in LABELS}
        unknown = [f"{name} '{label}'" for name, label in labels.items() if label not in _REFUSED]
        if unknown or not row.value.get("prompt") or row.value.get("completion") is None:
            what = (
                f"has {', '.join(unknown)}; labels are {', '.join(_REFUSED)}"
                if unknown
                else "lacks a prompt or a completion"
            )
            raise DataError(f"{path}: row {row.number}: {what}")
        refused = {name: _REFUSED[str(label)] for name, label in labels.items()}
        completions.append(
            LabelledCompletion(
                model=model,
                prompt=row.value["prompt"],
                response=row.value["completion"],
                refused=refused,
            )
        )
    if not completions:
        raise DataError(f"{path}: holds no row; remove the file or restore it")
    return completions
