"""Where the elements of a JSON array lie, found without parsing them, so that an array of any size
needs the memory of one element."""

import mmap
import re
from collections.abc import Iterator
from typing import Final

from plumbline.data.readers.rows import IncompleteFile
from plumbline.errors import DataError

# Possessive: a string that is not closed fails at once instead of trying every shorter one.
_TOKEN: Final = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"|[\[\]{},"]', re.DOTALL)
_NOT_SPACE: Final = re.compile(rb"[^ \t\r\n]")


def elements(where: str, content: bytes | mmap.mmap) -> Iterator[tuple[int, int]]:
    """Start and end of each element, without the white space around it; an element that is left
    out, as in `[1,,2]`, is empty.

    Whether an element is JSON is for its reader to say; brackets are only counted.

    Args:
        where: Name of the content for messages.
        content: One JSON array.

    Raises:
        IncompleteFile: If the array is not closed.
        DataError: If it is no array, or something follows it.
    """
    opening = _opening(where, content)
    depth, start, closed, empty = 0, opening + 1, 0, True
    for token in _TOKEN.finditer(content, opening):
        kind = token.group() if token.end() - token.start() == 1 else b"string"
        if kind == b'"':
            break  # a string that never ends
        if kind in (b"[", b"{"):
            depth += 1
        elif kind in (b"]", b"}"):
            depth -= 1
        if (depth == 1 and kind == b",") or depth == 0:
            bounds = _trimmed(content, start, token.start())
            if depth or not empty or bounds[0] < bounds[1]:
                yield bounds
            start, empty = token.end(), False
        if depth == 0:
            closed = token.end()
            break
    if not closed:
        raise IncompleteFile(
            f"{where}: the array is not closed, so the file looks half-written and nothing was"
            " taken from it; wait for the rest"
        )
    if (behind := _NOT_SPACE.search(content, closed)) is not None:
        raise DataError(
            f"{where}: something follows the array at byte {behind.start()}; one file holds one"
            " array"
        )


def _opening(where: str, content: bytes | mmap.mmap) -> int:
    """Where the array begins."""
    first = _NOT_SPACE.search(content)
    if first is None or first.group() != b"[":
        kinds = {b"": "nothing", b"{": "one object"}
        held = kinds.get(first.group() if first else b"", "something else")
        raise DataError(f"{where}: holds {held}; expected an array of objects")
    return first.start()


def _trimmed(content: bytes | mmap.mmap, start: int, end: int) -> tuple[int, int]:
    first = _NOT_SPACE.search(content, start, end)
    if first is None:
        return start, start
    while content[end - 1 : end] in (b" ", b"\t", b"\r", b"\n"):
        end -= 1
    return first.start(), end
