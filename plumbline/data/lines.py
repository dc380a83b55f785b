"""Rows of files from outside, read strictly: each row is good, or bad with a reason and its place;
a file that is not whole is refused.

A row is one line of JSON Lines, one element of a JSON array or one row of a Parquet file. It is at
most 4 MiB of strict UTF-8 and strict JSON: no key twice in an object, no number beyond the range of
a float, no half of a surrogate pair, nested at most 64 deep. Reading needs memory for one row and a
buffer, whatever the file holds: long lines, deep nesting and compression bombs end in a reason.
"""

import hashlib
import json
import math
import mmap
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, NamedTuple, NoReturn

from plumbline.errors import DataError

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


class Good(NamedTuple):
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


class Bad(NamedTuple):
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


Row = Good | Bad


def read_rows(path: Path) -> Iterator[Row]:
    """The rows of a file in order; how it is written follows from its name (see `SUFFIXES`).

    An error may come after rows were given: then nothing of the file may be used, so that a
    half-written file leaves no trace.

    Raises:
        IncompleteFile: If a line file does not end with a line feed, or an array, a compressed
            stream or a Parquet file breaks off.
        DataError: If the file is missing, damaged, of no known kind, or holds more than
            `MAX_FILE_BYTES`.
    """
    from plumbline.data.byte_streams import gzip_chunks, plain_chunks, zstandard_chunks
    from plumbline.data.parquet_rows import parquet_rows

    name = path.name.lower()
    if not path.is_file():
        raise DataError(f"{path}: there is no such file")
    if name.endswith((".jsonl", ".json", ".parquet")) and path.stat().st_size > MAX_FILE_BYTES:
        refuse_size(path)
    if name.endswith(".jsonl"):
        return _line_rows(path, plain_chunks(path))
    if name.endswith(".jsonl.gz"):
        return _line_rows(path, gzip_chunks(path))
    if name.endswith(".jsonl.zst"):
        return _line_rows(path, zstandard_chunks(path))
    if name.endswith(".parquet"):
        return parquet_rows(path)
    if name.endswith(".json"):
        return _array_rows(path)
    raise DataError(
        f"{path}: its name does not say how it is written; give it one of the endings"
        f" {', '.join(SUFFIXES)}"
    )


def split_rows(data: bytes) -> Iterator[Row]:
    """The rows of a message: the elements of a JSON array, or the one value that it is.

    Raises:
        DataError: If the array is not closed or something follows it.
    """
    if data.lstrip()[:1] == b"[":
        return _element_rows("the message", data)
    return iter((read_row(1, 0, data.strip()),))


def read_row(number: int, offset: int, body: bytes) -> Row:
    """The row that these bytes are."""
    try:
        return Good(number, offset, body, parse_row(body))
    except RowError as error:
        return bad_row(number, offset, body, str(error))


def bad_row(number: int, offset: int, body: bytes, reason: str) -> Bad:
    """A row that is held whole, as a bad one."""
    return Bad(
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
    if not body.strip():
        raise RowError("empty row")
    try:
        value = _DECODER.decode(body.decode())
    except UnicodeDecodeError as error:
        raise RowError("not UTF-8") from error
    except json.JSONDecodeError as error:
        raise RowError("not JSON") from error
    except RecursionError as error:
        raise RowError("nested too deeply") from error
    except RowError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise RowError("number out of range") from error
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


def _line_rows(path: Path, chunks: Iterable[bytes]) -> Iterator[Row]:
    number, offset, rest, long = 0, 0, b"", _LongRow()
    for chunk in chunks:
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            number += 1
            if long.length or len(line) > MAX_ROW_BYTES:
                long.extend(line)
                row: Row = long.end(number, offset)
            else:
                row = read_row(number, offset, line)
            offset += (row.length if isinstance(row, Bad) else len(line)) + 1
            yield row
            long = _LongRow() if long.length else long
        if long.length or len(rest) > MAX_ROW_BYTES:
            long.extend(rest)
            rest = b""
    if rest or long.length:
        raise IncompleteFile(
            f"{path}: the last line does not end with a line feed, so the file looks half-written"
            " and nothing was taken from it; wait for the rest, or add the line feed if the file"
            " is complete"
        )


class _LongRow:
    """A row that is too long to be held: its first bytes, its length and its digest."""

    def __init__(self) -> None:
        self.length = 0
        self._body = b""
        self._hash = hashlib.sha256()

    def extend(self, part: bytes) -> None:
        self._body += part[: KEPT_BYTES - len(self._body)]
        self.length += len(part)
        self._hash.update(part)

    def end(self, number: int, offset: int) -> Bad:
        return Bad(
            number,
            offset,
            self.length,
            "row too long",
            self._body,
            "sha256:" + self._hash.hexdigest(),
        )


def _array_rows(path: Path) -> Iterator[Row]:
    if not path.stat().st_size:
        raise IncompleteFile(f"{path}: is empty; expected a JSON array")
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        yield from _element_rows(str(path), content)


def _element_rows(where: str, content: "bytes | mmap.mmap") -> Iterator[Row]:
    from plumbline.data.json_elements import elements

    for number, (start, end) in enumerate(elements(where, content), start=1):
        if end - start <= MAX_ROW_BYTES:
            yield read_row(number, start, content[start:end])
            continue
        long = _LongRow()
        for at in range(start, end, KEPT_BYTES):
            long.extend(content[at : min(at + KEPT_BYTES, end)])
        yield long.end(number, start)


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        raise RowError("key stands twice")
    return value


def _no_constant(_name: str) -> NoReturn:
    raise RowError("number out of range")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise RowError("number out of range")
    return number


def _depth(value: object) -> int:
    """How deep arrays and objects are nested; 0 for a plain value."""
    depth, level = 0, [value]
    while level := [item for item in level if isinstance(item, dict | list)]:
        depth += 1
        level = [
            child for item in level for child in (item.values() if isinstance(item, dict) else item)
        ]
    return depth


_DECODER: Final = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite
)
