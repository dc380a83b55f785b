"""Where the texts of a feedback event stand in its canonical line, so that they can be copied
without being parsed again.

The keys of an event are fixed and canonical JSON sorts them. A quotation mark inside a string is
always written with a backslash before it, so that a pattern like `,"context":` can only be
structure and never text.
"""

import os
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import NamedTuple, Self

from plumbline.errors import DataError, InvalidFeedback

Span = tuple[int, int]
"""First byte and the byte behind the last, counted from the start of the line."""


class EventSpans(NamedTuple):
    """Spans of the JSON values of one event line."""

    prompt: Span
    context: Span
    responses: tuple[Span, ...]
    """The texts of the responses in their order, with the quotation marks."""


def event_spans(line: bytes) -> EventSpans:
    """Find the texts in the canonical line of an event.

    Raises:
        InvalidFeedback: If the line is no canonical line of an event.
    """
    try:
        context = line.index(b',"context":') + 11
        context_end = line.index(b',"id":', context)
        prompt = line.index(b',"prompt":', context_end) + 10
        prompt_end = line.index(b',"provenance":', prompt)
        responses = line.index(b',"responses":[', prompt_end) + 14
        responses_end = line.index(b'],"rubric":', responses)
        texts: list[Span] = []
        at = responses
        while at < responses_end:
            start = line.index(b',"text":', at) + 8
            end = line.find(b'},{"source":', start, responses_end)
            end = end if end >= 0 else responses_end - 1
            texts.append((start, end))
            at = end + 2
    except ValueError as error:
        raise InvalidFeedback(
            "this line is no canonical line of a feedback event; write it with"
            " plumbline.storage.jsonl.write_records"
        ) from error
    return EventSpans((prompt, prompt_end), (context, context_end), tuple(texts))


class EventLines:
    """Event lines of several files, read by offset; no file is mapped, so that reading costs no
    memory."""

    def __init__(self, paths: Sequence[Path]) -> None:
        self._paths = tuple(paths)
        self._descriptors: list[int] = []

    def __enter__(self) -> Self:
        try:
            for path in self._paths:
                self._descriptors.append(os.open(path, os.O_RDONLY))
        except OSError as error:
            self.close()
            raise DataError(
                f"{error.filename}: cannot be read: {error.strerror}; materialize `feedback` for"
                " this batch again"
            ) from error
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close every file."""
        while self._descriptors:
            os.close(self._descriptors.pop())

    def read(self, file: int, offset: int, length: int) -> bytes:
        """One line of the file with this number, without the line feed.

        Raises:
            InvalidFeedback: If the file is shorter than its index says.
        """
        data = os.pread(self._descriptors[file], length, offset)
        if len(data) != length:
            raise InvalidFeedback(
                f"{self._paths[file]}: ends at byte {offset + len(data)}, but its index names a row"
                f" up to byte {offset + length}"
            )
        return data
