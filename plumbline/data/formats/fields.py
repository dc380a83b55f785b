"""Fields of rows from outside, and the rows of CSV files."""

import csv
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from plumbline.data.formats.import_report import Rejected, require_file
from plumbline.data.readers.rows import ParsedRow
from plumbline.errors import DataError
from plumbline.records import canonical_json


def as_object(value: object) -> Mapping[str, Any]:
    """A parsed value that must be a JSON object.

    Raises:
        Rejected: If it is not one.
    """
    if not isinstance(value, dict):
        raise Rejected("not a JSON object")
    return value


def text_field(row: Mapping[str, Any], name: str) -> str:
    """A field that must be there and be a string, possibly empty.

    Raises:
        Rejected: If it is missing or something else.
    """
    value = row.get(name)
    if not isinstance(value, str):
        raise Rejected(f"{name} is missing or not a string")
    return value


def only_columns(row: Mapping[str, Any], allowed: Collection[str]) -> None:
    """Check that a row has no column beside those that are read.

    A column that a trainer would read, such as `chat_template_kwargs` or `tools`, could otherwise
    steer the training from inside the data.

    Raises:
        Rejected: If there is another column; names the first.
    """
    for name in row:
        if name not in allowed:
            raise Rejected(f"column {name} is not allowed")


def csv_rows(path: Path, columns: Sequence[str]) -> Iterator[ParsedRow]:
    """The rows of a CSV file with a header; a row stands for itself as JSON, without a place in
    bytes.

    Raises:
        DataError: If the file is missing, is no CSV in UTF-8, or lacks one of the columns.
    """
    require_file(path)
    try:
        with path.open(encoding="utf-8", newline="") as stream:
            reader = csv.DictReader(stream, strict=True)
            missing = [name for name in columns if name not in (reader.fieldnames or ())]
            if missing:
                raise DataError(
                    f"{path}: lacks the columns {', '.join(missing)}; expected {', '.join(columns)}"
                )
            for number, row in enumerate(reader, start=1):
                named = {
                    name: value for name, value in row.items() if isinstance(name, str)
                }  # cells beyond the header have no name
                yield ParsedRow(number, 0, canonical_json(named), named)
    except (csv.Error, UnicodeDecodeError) as error:
        raise DataError(f"{path}: not a CSV file in UTF-8: {error}") from error
