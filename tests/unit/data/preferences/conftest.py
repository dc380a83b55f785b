"""Preference data from a few judgments, and what was written."""

import itertools
import json
from datetime import timedelta

import pytest

from plumbline.data.adjudication.decisions import QueueItem
from plumbline.data.batch_index.index import write_batch
from plumbline.data.preferences.build import build_preferences
from plumbline.schema.conversations import Message, Response, ResponseSource
from plumbline.schema.feedback import (
    Comparison,
    Consent,
    Context,
    FeedbackEvent,
    Provenance,
)
from plumbline.schema.preferences import SPLITS, PreferencePair
from plumbline.storage.jsonl import read_records

SOURCE = ResponseSource(policy="p", chat_template="t", role_format="conversation", decoder=None)
FIELDS = {
    "provenance": Provenance(written_by="a", filtered_by="b", approved_by="c"),
    "consent": Consent(scope="training", version="c-1"),
    "context": Context(locale="en", domain="test", slice="unsliced"),
    "synthetic": False,
    "rubric": "test@1",
    "annotator": "rater-01",
}


@pytest.fixture
def judge(make_event):
    """Makes an event from texts and a judgment."""
    noon = make_event().time

    def build(prompt, texts, judgment, *, minutes=0, **fields):
        return FeedbackEvent.create(
            prompt=(Message(role="user", content=prompt),),
            responses=tuple(Response(text=text, source=SOURCE) for text in texts),
            judgment=judgment,
            time=noon + timedelta(minutes=minutes),
            **FIELDS | fields,
        )

    return build


@pytest.fixture
def build(tmp_path, rubric, rule):
    """Builds preference data of some events; returns a reader of its files and the counts."""
    numbers = itertools.count()

    def run(events, *, rubric=rubric, rule=rule, held_out=(), excluded=None, adjudications=None):
        folder = tmp_path / f"built-{next(numbers)}"
        write_batch(folder / "batch", events, rule.near_duplicates)
        return Built(
            folder / "data",
            build_preferences(
                [folder / "batch"],
                folder / "data",
                rubric,
                rule,
                0,
                held_out,
                excluded=excluded or {},
                adjudications=adjudications or {},
            ),
        )

    return run


class Built:
    def __init__(self, folder, counted):
        self.folder, self.counts, self.routes = folder, counted.counts, counted.routes

    @property
    def pairs(self):
        return {
            pair.id: pair
            for name in SPLITS
            for pair in read_records(self.folder / f"{name}.jsonl", PreferencePair)
        }

    @property
    def set_aside(self):
        return {row["id"]: row["reason"] for row in self.rows("set_aside")}

    @property
    def queue(self):
        return list(read_records(self.folder / "adjudication_queue.jsonl", QueueItem))

    def rows(self, name):
        return [
            json.loads(line) for line in (self.folder / f"{name}.jsonl").read_bytes().splitlines()
        ]


def compare(preferred, strength=2):
    return Comparison(preferred=preferred, strength=strength)
