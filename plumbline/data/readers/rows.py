"""Rows of files from outside, read strictly: each row is good, or bad with a reason and its place;
a file that is not whole is refused.

A row is one line of JSON Lines, one element of a JSON array or one row of a Parquet file. It is at
most 4 MiB of strict UTF-8 and strict JSON: no key twice in an object, no number beyond the range of
a float, no half of a surrogate pair, nested at most 64 deep. Reading needs memory for one row and a
buffer, whatever the file holds: long lines, deep nesting and compression bombs end in a reason.
"""

import hashlib
import json
import re
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from plumbline.errors import DataError
from plumbline.records import JsonError, parse_json

MAX_ROW_BYTES: Final = 4 * 2**20
MAX_DEPTH: Final = 64
MAX_FILE_BYTES: Final = 2**30
"""Largest file, and the most that a compressed file may hold."""
KEPT_BYTES: Final = 64 * 2**10
"""How much of a bad row is kept for the person who looks at it."""
SUFFIXES: Final = (".jsonl", ".jsonl.gz", ".jsonl.zst", ".json", ".parquet")

_HALF_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")


class IncompleteFile(DataError):
    """A file that ends too early, as one does that is still being written; nothing of it may be
    used."""


class RowError(ValueError):
    """Why a row is bad, in words that are the same for every row with this defect."""


class ParsedRow(NamedTuple):
    """A row of strict JSON."""

    number: int
    """Place in the file, from 1."""
    offset: int
    """First byte in the file, after decompression; 0 in a Parquet file, whose rows are not next to
    each other."""
    body: bytes
    """The bytes of the row; of a Parquet row, its JSON."""
    value: Any
    """What the JSON says."""


class RejectedRow(NamedTuple):
    """A row that cannot be used."""

    number: int
    offset: int
    length: int
    """Bytes of the row in the file."""
    reason: str
    body: bytes
    """The first `KEPT_BYTES` of the row."""
    digest: str
    """SHA-256 of the whole row."""


Row = ParsedRow | RejectedRow


def read_row(number: int, offset: int, body: bytes) -> Row:
    """The row that these bytes are."""
    try:
        return ParsedRow(number, offset, body, parse_row(body))
    except RowError as error:
        return bad_row(number, offset, body, str(error))


def bad_row(number: int, offset: int, body: bytes, reason: str) -> RejectedRow:
    """A row that is held whole, as a bad one."""
    return RejectedRow(
        number,
        offset,
        len(body),
        reason,
        body[:KEPT_BYTES],
        "sha256:" + hashlib.sha256(body).hexdigest(),
    )


def parse_row(body: bytes) -> Any:
    """The value of one row.

    Raises:
        RowError: If the row is not strict JSON within the limits.
    """
    if len(body) > MAX_ROW_BYTES:
        raise RowError("row too long")
    try:
        value = parse_json(body)
    except JsonError as error:
        raise RowError(error.defect) from error
    if body.count(b"[") + body.count(b"{") > MAX_DEPTH and _depth(value) > MAX_DEPTH:
        raise RowError("nested too deeply")
    if _HALF_SURROGATE.search(body):
        try:
            json.dumps(value, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise RowError("lone surrogate") from error
    return value


def refuse_size(path: Path) -> NoReturn:
    """Refuse a file that holds too much."""
    raise DataError(
        f"{path}: holds more than {MAX_FILE_BYTES // 2**20} MiB; split it into smaller files"
    )


def file_digest(path: Path) -> str:
    """`sha256:<hex>` of the bytes of a file, as they lie on the disk."""
    with path.open("rb") as stream:
        return "sha256:" + hashlib.file_digest(stream, "sha256").hexdigest()


def _depth(value: object) -> int:
    """How deep arrays and objects are nested; 0 for a plain value."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth
