"""Rows of JSON files in the two layouts of public data: one object per line (plain or gzipped), or one array of objects."""

import gzip
import zlib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from plumbline.data.files import parse_json, read_lines
from plumbline.data.importers.report import Rejected, require_file
from plumbline.errors import DataError


def json_lines(path: Path) -> Iterator[tuple[int, bytes]]:
    """Lines of a .jsonl or .jsonl.gz file with their numbers, not parsed.

    Raises:
        DataError: If the file is missing or its compression is damaged.
    """
    require_file(path)
    if path.suffix != ".gz":
        yield from read_lines(path)
        return
    try:
        with gzip.open(path, "rb") as stream:
            for row, line in enumerate(stream, start=1):
                yield row, line.removesuffix(b"\n")
    except (OSError, EOFError, zlib.error) as error:
        raise DataError(f"{path}: the compressed file is damaged: {error}; fetch it again") from error


def json_array(path: Path) -> Iterator[tuple[int, Any]]:
    """Elements of a file that holds one JSON array, with their numbers.

    Raises:
        DataError: If the file is missing, is not strict JSON or holds something else than an array.
    """
    require_file(path)
    try:
        value = parse_json(path.read_bytes())
    except ValueError as error:
        raise DataError(f"{path}: {error}") from error
    if not isinstance(value, list):
        raise DataError(f"{path}: holds a {type(value).__name__}; expected an array of objects")
    yield from enumerate(value, start=1)


def json_object(line: bytes) -> Mapping[str, Any]:
    """One line as a JSON object.

    Raises:
        Rejected: If it is not one.
    """
    try:
        value = parse_json(line)
    except ValueError as error:
        raise Rejected("not strict JSON") from error
    return as_object(value)


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
