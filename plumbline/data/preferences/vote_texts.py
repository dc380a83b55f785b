"""The texts behind the rows of a vote table, read by offset when they are needed."""

import json
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plumbline.data.batch_index.spans import EventLines
from plumbline.data.preferences.vote_table import VoteTable
from plumbline.data.splits import pair_id
from plumbline.schema.conversations import Message

_SPANS = (
    "offset",
    "length",
    "prompt_at",
    "prompt_to",
    "context_at",
    "context_to",
    "left_at",
    "left_to",
    "right_at",
    "right_to",
)


class Fragments(NamedTuple):
    """JSON values as they stand in the event line."""

    prompt: bytes
    context: bytes
    left: bytes
    right: bytes
    """Empty for a verdict."""


class VoteTexts:
    """Reads the texts of votes.

    Args:
        votes: The table whose rows are meant.
        lines: The accepted events of the same batches, in the same order.
    """

    def __init__(self, votes: VoteTable, lines: EventLines) -> None:
        self._votes = votes
        self._lines = lines

    def line(self, row: int) -> bytes:
        """The whole event."""
        columns = self._votes.columns
        return self._lines.read(
            int(self._votes.batch[row]), int(columns["offset"][row]), int(columns["length"][row])
        )

    def fragments(self, rows: NDArray[np.int64]) -> Iterator[Fragments]:
        """Fragments of many rows, in their order."""
        batches = self._votes.batch[rows].tolist()
        spans = [self._votes.columns[name][rows].tolist() for name in _SPANS]
        read = self._lines.read
        for (
            batch,
            offset,
            length,
            prompt,
            prompt_to,
            context,
            context_to,
            left,
            left_to,
            right,
            right_to,
        ) in zip(batches, *spans, strict=True):
            line = read(batch, offset, length)
            yield Fragments(
                line[prompt:prompt_to],
                line[context:context_to],
                line[left:left_to],
                line[right:right_to],
            )

    def prompts(self, rows: NDArray[np.int64]) -> list[tuple[Message, ...]]:
        """Conversations of many rows."""
        return [
            tuple(Message.model_construct(**turn) for turn in json.loads(part.prompt))
            for part in self.fragments(rows)
        ]

    def responses(self, row: int) -> tuple[str, ...]:
        """The judged responses of a row, the one whose text sorts first before the other; one for a
        verdict."""
        (part,) = self.fragments(np.array([row]))
        return tuple(json.loads(text) for text in (part.left, part.right) if text)

    def pair_id(self, row: int, side: int) -> str:
        """Id of the pair of a row if the response on this side is chosen."""
        shown = self.responses(row)
        return pair_id(self.prompts(np.array([row]))[0], (shown[side], shown[1 - side]))
