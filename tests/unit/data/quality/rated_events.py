"""Judgments made from tables of answers."""

from plumbline.data.quality.agreement import (
    AnswerPairs,
)
from plumbline.schema.feedback import Rating
from tests.unit.conftest import event


def rated(prompt, annotator, score, dimension="safe", **fields):
    return event(
        prompt,
        annotator=annotator,
        preferred=None,
        strength=0,
        ratings=(Rating(response=0, dimension=dimension, score=score),),
        **fields,
    )


def votes(rows):
    """Comparisons (item, annotator, winner, clause)."""
    return [
        AnswerPairs(f"{item:016x}", f"{item:016x}", annotator, time, winner, clause)
        for time, (item, annotator, winner, clause) in enumerate(rows)
    ]
