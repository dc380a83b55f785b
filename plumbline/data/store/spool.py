"""Parsed rows on their way into the feedback store."""

import json
import tempfile
from collections.abc import Iterable, Iterator
from types import TracebackType
from typing import Any, Final, Literal, NamedTuple, Self

from plumbline.data.formats.import_report import ImportedRow, ImportReport, Tally
from plumbline.data.readers.rows import RejectedRow
from plumbline.errors import DataError
from plumbline.schema.feedback import FeedbackEvent

IngestChannel = Literal["file", "inbox", "http", "page", "cli"]
"""How feedback comes in."""
MAX_BAD_ROWS: Final = 100_000
_MEMORY: Final = 2**25
"""Bytes of parsed rows that are held in memory; more go to a temporary file."""


class StoredEvent(NamedTuple):
    """An event as it is stored, with its place; the store asks for no more than its id and its
    JSON."""

    row: int
    offset: int
    length: int
    id: str
    body: bytes

    def to_json(self) -> bytes:
        """The canonical JSON of the event."""
        return self.body


class ParsedUpload:
    """The parsed rows of one delivery, on disk when they are many, so that nobody waits for a
    database that is locked while a file is parsed.

    Close it, or use it in a `with` statement.

    Args:
        source: Name of the file, or who sent it.
        way: How it came.
        rows: What `read_feedback` makes of it; read once, now.
        digest: SHA-256 of the bytes that came.

    Raises:
        DataError: If the rows cannot be read to their end, or more than `MAX_BAD_ROWS` of them are
            bad; nothing of them is left then.
    """

    def __init__(
        self,
        source: str,
        way: IngestChannel,
        rows: Iterable[ImportedRow[FeedbackEvent] | RejectedRow],
        digest: str,
    ) -> None:
        self.source = source
        self.way: IngestChannel = way
        self.digest = digest
        tally = Tally()
        self._spool = tempfile.SpooledTemporaryFile(max_size=_MEMORY)  # noqa: SIM115 - closed with the upload
        try:
            for row in rows:
                if isinstance(row, RejectedRow):
                    self._write(
                        [row.number, row.offset, row.length, row.reason, row.digest], row.body
                    )
                    tally.reject(row.number, row.reason)
                else:
                    self._write([row.row, row.offset, row.length, row.item.id], row.item.to_json())
                    tally.accept()
                if tally.rejected.total() > MAX_BAD_ROWS:
                    raise DataError(
                        f"{source}: more than {MAX_BAD_ROWS} rows are bad, for example:"
                        f" {'; '.join(list(tally.rejected)[:3])}; nothing was taken from it"
                    )
        except BaseException:
            self.close()
            raise
        self.report: ImportReport = tally.report(source)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Drop the rows."""
        self._spool.close()

    def events(self) -> Iterator[StoredEvent]:
        """The rows that are events."""
        return (row for row in self._read() if isinstance(row, StoredEvent))

    def bad(self) -> Iterator[RejectedRow]:
        """The rows that are none."""
        return (row for row in self._read() if isinstance(row, RejectedRow))

    def _write(self, header: list[Any], body: bytes) -> None:
        self._spool.write(json.dumps([len(body), *header]).encode() + b"\n" + body)

    def _read(self) -> Iterator[StoredEvent | RejectedRow]:
        place = 0
        while True:
            if self._spool.tell() != place:  # several readers may take turns
                self._spool.seek(place)
            line = self._spool.readline()
            if not line:
                return
            size, number, offset, length, name, *digest = json.loads(line)
            body = self._spool.read(size)
            place = self._spool.tell()
            yield (
                RejectedRow(number, offset, length, name, body, digest[0])
                if digest
                else StoredEvent(number, offset, length, name, body)
            )
