"""Files of rows from outside: how a file is written follows from its name."""

import hashlib
import mmap
from collections.abc import Iterable, Iterator
from pathlib import Path

from plumbline.data.readers.compressed import gzip_chunks, plain_chunks, zstandard_chunks
from plumbline.data.readers.json_array import elements
from plumbline.data.readers.rows import (
    KEPT_BYTES,
    MAX_FILE_BYTES,
    MAX_ROW_BYTES,
    SUFFIXES,
    IncompleteFile,
    RejectedRow,
    Row,
    read_row,
    refuse_size,
)
from plumbline.errors import DataError


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
        from plumbline.data.readers.parquet import parquet_rows  # pyarrow: only for its own files

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


def _array_rows(path: Path) -> Iterator[Row]:
    if not path.stat().st_size:
        raise IncompleteFile(f"{path}: is empty; expected a JSON array")
    with (
        path.open("rb") as stream,
        mmap.mmap(stream.fileno(), 0, access=mmap.ACCESS_READ) as content,
    ):
        yield from _element_rows(str(path), content)


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
            offset += (row.length if isinstance(row, RejectedRow) else len(line)) + 1
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

    def end(self, number: int, offset: int) -> RejectedRow:
        return RejectedRow(
            number,
            offset,
            self.length,
            "row too long",
            self._body,
            "sha256:" + self._hash.hexdigest(),
        )


def _element_rows(where: str, content: bytes | mmap.mmap) -> Iterator[Row]:
    for number, (start, end) in enumerate(elements(where, content), start=1):
        if end - start <= MAX_ROW_BYTES:
            yield read_row(number, start, content[start:end])
            continue
        long = _LongRow()
        for at in range(start, end, KEPT_BYTES):
            long.extend(content[at : min(at + KEPT_BYTES, end)])
        yield long.end(number, start)
