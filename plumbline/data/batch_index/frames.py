"""Frames of the votes of several batches, without the text, for whatever counts judgments; and
single events by id."""

from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import polars
import polars as pl

from plumbline.data.batch_index.index import INDEX, KINDS, index_schema, indexed
from plumbline.data.batch_index.spans import EventLines
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.kinds import ACCEPTED_FILE
from plumbline.storage.jsonl import parse_record

_KEYS = ("event", "pair", "redacted_from", "judged", "prompt")
_NAMES = ("annotator", "rubric", "slice", "clause", "attack", "consent_version", "given_by")


def read_index(batches: Sequence[Path], columns: Sequence[str] | None = None) -> polars.DataFrame:
    """One row per event and judged pair: keys as hex, `kind` by name, times in microseconds since
    1970 (UTC), `winner` 0, 1 or null for a tie.

    An event that stands in several batches has its rows once.

    Args:
        batches: Folders that `write_batch` filled.
        columns: Names among those of `index_schema`; null takes all.
    """
    wanted = [name for name in index_schema().names if columns is None or name in columns]
    kinds = pl.col("kind").replace_strict(dict(enumerate(KINDS)), return_dtype=pl.String)
    keys, names = ([name for name in group if name in wanted] for group in (_KEYS, _NAMES))
    frames = []
    with indexed(batches) as folders:
        for number, folder in enumerate(folders):
            frame = pl.read_parquet(folder / INDEX, columns=list(dict.fromkeys(["event", *wanted])))
            frames.append(
                frame.with_columns(
                    pl.col(names).cast(pl.String), pl.lit(number, pl.Int32).alias("batch")
                )
            )
    if not frames:
        return pl.DataFrame(schema=dict.fromkeys(wanted, pl.Null))
    frame = pl.concat(frames)
    if len(frames) > 1:
        frame = frame.filter(pl.col("batch") == pl.col("batch").min().over("event"))
    frame = frame.select(wanted).with_columns(pl.col(keys).bin.encode("hex"))
    return frame.with_columns(kinds) if "kind" in wanted else frame


def events_at(batches: Sequence[Path], event_ids: Iterable[str]) -> Iterator[FeedbackEvent]:
    """Single events by id, each once, in the order of their ids; ids that are in no batch are left
    out."""
    wanted = pl.Series(
        "event", [bytes.fromhex(identifier) for identifier in event_ids], dtype=pl.Binary
    )
    places: dict[bytes, tuple[int, int, int]] = {}
    with (
        indexed(batches) as folders,
        EventLines([batch / ACCEPTED_FILE for batch in batches]) as lines,
    ):
        for number, folder in enumerate(folders):
            frame = pl.read_parquet(folder / INDEX, columns=["event", "offset", "length", "first"])
            for event, offset, length, _ in frame.filter(
                pl.col("first") & pl.col("event").is_in(wanted.implode())
            ).iter_rows():
                places[event] = (number, offset, length)
        for _, (number, offset, length) in sorted(places.items()):
            yield parse_record(lines.read(number, offset, length), FeedbackEvent)
