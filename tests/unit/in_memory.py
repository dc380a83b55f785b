"""What the product does with files and transactions, asked for with values in memory."""

import tempfile
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import NamedTuple

from plumbline.data.batch_index.frames import read_index
from plumbline.data.batch_index.index import write_batch
from plumbline.data.formats.import_report import collect
from plumbline.data.formats.reading import feedback_batches, feedback_format, read_feedback
from plumbline.data.preferences.build import build_preferences
from plumbline.data.readers.files import read_rows
from plumbline.data.screening.annotator_quality import votes_of_index
from plumbline.profile.data import NearDuplicateConfig
from plumbline.records import parse_json
from plumbline.schema.kinds import SET_ASIDE_FILE
from plumbline.schema.preferences import SPLITS, PreferencePair
from plumbline.storage.jsonl import read_lines, read_records


class ExcludedEvent(NamedTuple):
    """An event that is in no pair, with the reason."""

    id: str
    reason: str


@dataclass(frozen=True)
class PreferenceData:
    """Pairs by split and the events that were set aside; both sorted by id."""

    splits: dict
    set_aside: tuple
    counts: dict


def build_pairs(events, rubric, rule, seed, held_out_prompts):
    """What `build_preferences` makes of the events, read back."""
    with tempfile.TemporaryDirectory() as temporary:
        batch, folder = Path(temporary, "batch"), Path(temporary, "data")
        write_batch(batch, events, rule.near_duplicates)
        built = build_preferences([batch], folder, rubric, rule, seed, held_out_prompts)
        rows = [parse_json(line) for _, line in read_lines(folder / SET_ASIDE_FILE)]
        return PreferenceData(
            {
                name: tuple(read_records(folder / f"{name}.jsonl", PreferencePair))
                for name in SPLITS
            },
            tuple(ExcludedEvent(row["id"], row["reason"]) for row in rows),
            built.counts,
        )


def votes_of(events):
    """What `votes_of_index` reads in a batch of the events."""
    with tempfile.TemporaryDirectory() as temporary:
        rule = NearDuplicateConfig(shingle=5, threshold=0.7, action="report")
        write_batch(Path(temporary), events, rule)
        return votes_of_index(read_index([Path(temporary)]))


def import_feedback(data, source, attribution):
    """The feedback of a source, read to its end, by batch."""
    format = feedback_format(source)
    return {
        name: collect(path.name, read_feedback(read_rows(path), format, attribution, source.limit))
        for name, path in feedback_batches(data, source).items()
    }


class Receipt(NamedTuple):
    """What became of the events that were handed in."""

    accepted: int
    duplicate: int
    conflict: int


def add_events(store, events, now=None):
    """How many events became what, in one transaction of their own."""
    with store.database.writing() as connection:
        return Receipt(*map(len, store.insert(connection, events, now or datetime.now(UTC))))


def add_batch(store, name, events, now=None):
    """A named batch of the events, in one transaction, as a delivery closes it."""
    now = now or datetime.now(UTC)
    with store.database.writing() as connection:
        inserted = store.insert(connection, events, now)
        assert not inserted.conflicts
        return store.close_batch(connection, name, {*inserted.accepted, *inserted.duplicate}, now)
