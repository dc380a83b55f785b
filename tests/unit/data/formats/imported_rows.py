"""Rows read by a format, and what they say."""

import json
from datetime import UTC, datetime

from plumbline.data.formats.import_report import Attribution
from plumbline.data.formats.reading import (
    read_feedback,
)
from plumbline.data.readers.rows import RejectedRow, read_row
from plumbline.schema.feedback import FeedbackEvent

ATTRIBUTION = Attribution(
    rubric="test@1",
    consent_version="c-1",
    approved_by="board",
    time=datetime(2024, 1, 1, tzinfo=UTC),
    synthetic=True,
)


def results(format, *rows):
    """Events, and the reasons of rows that are none, in order."""
    parsed = read_feedback(
        [read_row(n, 0, json.dumps(row).encode()) for n, row in enumerate(rows, start=1)],
        format,
        ATTRIBUTION,
    )
    return [row.reason if isinstance(row, RejectedRow) else row.item for row in parsed]


def one(format, row):
    (event,) = results(format, row)
    assert isinstance(event, FeedbackEvent), event
    return event


def said(event):
    """(role, text) of the prompt, and the texts of the responses."""
    return [(m.role, m.content) for m in event.prompt], [r.text for r in event.responses]


def turn(role, content):
    return {"role": role, "content": content}


USER, REPLY = turn("user", "Why?"), turn("assistant", "So.")
