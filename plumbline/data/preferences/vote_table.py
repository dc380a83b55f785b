"""The votes of several batches as arrays: the narrow form in which preference data is built."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
from numpy.typing import NDArray

from plumbline.data.batch_index.index import DIMENSIONS, INDEX, KINDS, SKETCHES, index_schema

COMPARISON, RANKING, VERDICT = range(len(KINDS))
TIE = -1
NO_RATING = -128


@dataclass(frozen=True)
class VoteTable:
    """One row per event and judged pair, sorted by event id; the rows of one event stay in their
    order.

    A row is about 200 bytes, whatever the texts are. An event that came in several batches is there
    once.
    """

    event: NDArray[np.bytes_]
    """Id of the event, 20 bytes."""
    event_number: NDArray[np.int64]
    """Number of the event in the order of the ids, from 0."""
    pair: NDArray[np.bytes_]
    """Id of the pair if this vote decides, 20 bytes; empty for a tie."""
    judged: NDArray[np.bytes_]
    """Digest of prompt and unordered responses, 32 bytes."""
    group: NDArray[np.int64]
    """Number of the judged pair in the order of the digests."""
    prompt: NDArray[np.int64]
    """Number of the prompt group."""
    prompt_keys: NDArray[np.bytes_]
    """Key of each prompt group, 32 bytes."""
    winner: NDArray[np.int8]
    """0 the response whose text sorts first (or desirable), 1 the other, TIE."""
    columns: dict[str, NDArray[Any]]
    """The other columns of the index as they are; names as numbers into `names`, -1 where there is
    none."""
    names: dict[str, tuple[str, ...]]
    ratings: NDArray[np.int8] | None
    """Score of left minus that of right by dimension, NO_RATING where there is none; None when
    nobody rated anything."""
    batch: NDArray[np.int32]
    sketch_row: NDArray[np.int64]
    """Row of the sketch of this vote among the sketches of its batch."""

    @property
    def events(self) -> int:
        """Number of different events."""
        return int(self.event_number[-1]) + 1 if len(self.event_number) else 0

    def __len__(self) -> int:
        return len(self.event)


_NAMES = ("annotator", "rubric", "attack")
_PLAIN = (
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
    "kind",
    "strength",
    "places",
    "share",
    "time",
    "synthetic",
    "empty_response",
    "same_response",
    "fingerprint",
)


def load_votes(folders: Sequence[Path]) -> VoteTable:
    """Read the indexes of several batches; the order of the batches makes no difference but for
    `batch` and `sketch_row`."""
    wanted = [
        "event",
        "pair",
        "redacted_from",
        "judged",
        "prompt",
        "winner",
        *_NAMES,
        *_PLAIN,
        *DIMENSIONS,
    ]
    parts = [
        pq.read_table(folder / INDEX, columns=wanted, page_checksum_verification=True)
        for folder in folders
    ]
    sizes = [part.num_rows for part in parts]
    table = pa.concat_tables(
        parts or [index_schema().empty_table().select(wanted)]
    ).unify_dictionaries()
    del parts  # the columns are taken out one by one below; nothing else may hold them
    batch = np.repeat(np.arange(len(sizes), dtype=np.int32), np.array(sizes, dtype=np.int64))
    sketch_row = (
        np.concatenate([np.arange(size, dtype=np.int64) for size in sizes])
        if sizes
        else np.zeros(0, dtype=np.int64)
    )
    # From here on every column is in the order of the events, each event from one batch only.
    order, event_number = _by_event(_bytes(table, "event", 20), batch, _column(table, "offset"))
    group, _ = _numbers(_bytes(table, "judged", 32)[order])
    prompt, prompt_keys = _numbers(_bytes(table, "prompt", 32)[order])
    codes = {name: _codes(table, name, order) for name in _NAMES}
    columns = {name: _column(table, name)[order] for name in _PLAIN} | {
        name: code for name, (code, _) in codes.items()
    }
    redacted = _bytes(table, "redacted_from", 20)
    columns["redacted_from"] = redacted[order] if redacted.any() else np.zeros(0, dtype="S20")
    return VoteTable(
        event=_bytes(table, "event", 20)[order],
        event_number=event_number,
        pair=_bytes(table, "pair", 20)[order],
        judged=_bytes(table, "judged", 32)[order],
        group=group,
        prompt=prompt,
        prompt_keys=prompt_keys,
        winner=_filled(table, "winner", TIE)[order],
        columns=columns,
        names={name: names for name, (_, names) in codes.items()},
        ratings=_ratings(table, order),
        batch=batch[order],
        sketch_row=sketch_row[order],
    )


def read_sketches(
    folders: Sequence[Path], votes: VoteTable, rows: NDArray[np.int64], width: int
) -> NDArray[np.uint8]:
    """Near-duplicate sketches of some rows, shape (rows, width)."""
    signatures = np.empty((len(rows), width), dtype=np.uint8)
    for number, folder in enumerate(folders):
        here = np.flatnonzero(votes.batch[rows] == number)
        if len(here):
            stored = np.fromfile(folder / SKETCHES, dtype=np.uint8).reshape(-1, width)
            signatures[here] = stored[votes.sketch_row[rows[here]]]
    return signatures


def hexadecimal(key: bytes, size: int) -> str:
    """A key as text; numpy drops zero bytes at the end of a byte string, so the size is needed to
    put them back."""
    return key.ljust(size, b"\0").hex()


def _by_event(
    event: NDArray[np.bytes_], batch: NDArray[np.int32], offset: NDArray[np.int64]
) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """Rows in the order of their events, each event from one place only, and the number of the
    event of each."""
    order = np.argsort(event, kind="stable")
    if not len(order):
        return order, order
    # Copies of an event stand together; those from where its first copy lies stay.
    starts = np.concatenate([[True], event[order][1:] != event[order][:-1]])
    number = np.cumsum(starts) - 1
    first = np.flatnonzero(starts)[number]
    kept = (batch[order] == batch[order][first]) & (offset[order] == offset[order][first])
    return order[kept], number[kept]


def _numbers(keys: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.bytes_]]:
    unique, numbers = np.unique(keys, return_inverse=True)
    return numbers, unique


def _bytes(table: pyarrow.Table, name: str, size: int) -> NDArray[np.bytes_]:
    """A column of keys; empty where there is none."""
    column = table.column(name)
    # Views of the Arrow buffers: a byte string of numpy, where a Python object would cost 50 bytes.
    keys = [
        np.frombuffer(
            chunk.fill_null(b"\0" * size).buffers()[1],
            dtype=f"S{size}",
            count=len(chunk) + chunk.offset,
        )[chunk.offset :]
        for chunk in column.chunks
    ]
    return np.concatenate(keys) if keys else np.zeros(0, dtype=f"S{size}")


def _column(table: pyarrow.Table, name: str) -> NDArray[Any]:
    column: NDArray[Any] = table.column(name).combine_chunks().to_numpy(zero_copy_only=False)
    return column


def _filled(table: pyarrow.Table, name: str, value: int) -> NDArray[Any]:
    column: NDArray[Any] = (
        pc.fill_null(table.column(name), value).combine_chunks().to_numpy(zero_copy_only=False)
    )
    return column


def _codes(
    table: pyarrow.Table, name: str, order: NDArray[np.int64]
) -> tuple[NDArray[np.int32], tuple[str, ...]]:
    """Numbers of the names of a column and the names, sorted, so that the numbers do not depend on
    the batches."""
    column = table.column(name).combine_chunks()
    if isinstance(column, pa.ChunkedArray):
        column = (
            pa.concat_arrays(column.chunks)
            if column.num_chunks
            else pa.array([], type=pa.dictionary(pa.int32(), pa.string()))
        )
    names = column.dictionary.to_pylist()
    ranks = np.full(len(names) + 1, -1, dtype=np.int32)
    ordered = sorted(set(names))
    place = {label: number for number, label in enumerate(ordered)}
    ranks[: len(names)] = [place[label] for label in names]
    # A name that is none gets the last code, and with it the rank -1.
    codes = column.indices.fill_null(len(names)).to_numpy(zero_copy_only=False)
    return ranks[codes][order], tuple(ordered)


def _ratings(table: pyarrow.Table, order: NDArray[np.int64]) -> NDArray[np.int8] | None:
    if all(table.column(name).null_count == table.num_rows for name in DIMENSIONS):
        return None
    return np.stack([_filled(table, name, NO_RATING)[order] for name in DIMENSIONS], axis=1)
