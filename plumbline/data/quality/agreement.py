"""How far annotators agree, question by question: which response is better, each rated dimension,
acceptability, and the clause that decided.

Judgments are counted in a tally of fixed width, without texts: 30 bytes for each answer. Items are
64-bit digests; among a million of them two share a digest with a probability of 3 in 100 million.
"""

from array import array
from collections.abc import Collection, Iterable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Final, NamedTuple

import numpy as np
import polars as pl
from numpy.typing import NDArray

from plumbline.data.batch_index.frames import read_index
from plumbline.data.quality.agreement_report import AgreementReport, QuestionAgreement
from plumbline.data.quality.questions import ACCEPTABLE, DESIRABLE, PREFERENCE, answers_of
from plumbline.schema.feedback import FeedbackEvent
from plumbline.statistics.agreement import AgreementTable, Scale, coefficients

MINIMUM_PROMPTS: Final = 10
"""Prompts with a doubly judged item below which nothing is estimated: a bootstrap of fewer covers
far less than it claims."""
CLAUSE: Final = "clause"
TIE: Final = 1
"""Index of the tie among the answers to `preference`: second better, tie, first better, by the
order of the texts."""


class AnswerPairs(NamedTuple):
    """One comparison without texts: the columns of the index of a batch."""

    prompt: str
    """Digest of the prompt, hexadecimal (see `prompt_key`)."""
    judged: str
    """Digest of the prompt and the two responses, hexadecimal (see `judged_pair`)."""
    annotator: str
    time: int
    """Microseconds since 1970, UTC."""
    winner: int | None
    """0: the response whose text sorts first, 1: the other, None: a tie."""
    clause: str | None


class _Columns(NamedTuple):
    """The answers to one question."""

    prompts: "array[int]"
    items: "array[int]"
    annotators: "array[int]"
    times: "array[int]"
    values: "array[int]"


class AgreementTally:
    """Answers counted in one pass; the report does not depend on their order."""

    def __init__(self) -> None:
        self._events = 0
        self._questions: dict[str, _Columns] = {}
        self._annotators: dict[str, int] = {}
        self._clauses: dict[str, int] = {}

    def add(self, event: FeedbackEvent) -> None:
        """Count one event."""
        self._events += 1
        time = _microseconds(event.time)
        for answer in answers_of(event):
            if answer.question == PREFERENCE:
                self._compare(
                    answer.prompt, answer.item, event.annotator, time, answer.value, event.clause
                )
            else:
                self._append(
                    answer.question, answer.prompt, answer.item, event.annotator, time, answer.value
                )

    def add_compared(self, rows: Iterable[AnswerPairs]) -> None:
        """Count comparisons that are known without their texts, for example from the index of a
        batch; each counts as one event."""
        for prompt, judged, annotator, time, winner, clause in rows:
            self._events += 1
            self._compare(
                int(prompt[:16], 16),
                int(judged[:16], 16),
                annotator,
                time,
                0 if winner is None else (1, -1)[winner],
                clause,
            )

    def report(self, confidence_level: float, seed: int) -> AgreementReport:
        """Agreement on every question that was answered.

        Args:
            confidence_level: Two-sided confidence level of the intervals.
            seed: Seed of the bootstrap.
        """
        results: list[QuestionAgreement] = []
        repeated = 0
        tables = {name: _newest(columns) for name, columns in self._questions.items()}
        for name in sorted(tables, key=_position):
            table, older = tables[name]
            repeated += older
            if name == CLAUSE:
                rank = {clause: number for number, clause in enumerate(sorted(self._clauses))}
                table = table._replace(
                    values=np.array([rank[clause] for clause in self._clauses], dtype=np.int64)[
                        table.values
                    ]
                )
            results.append(
                _measure(
                    name,
                    table,
                    *_domain(name, len(self._clauses)),
                    confidence_level=confidence_level,
                    seed=seed,
                )
            )
        for clause, number in sorted(self._clauses.items()):
            preferences, named = tables[PREFERENCE][0], tables[CLAUSE][0]
            rows = np.isin(preferences.items, named.items[named.values == number])
            part = _Table(
                preferences.prompts[rows],
                preferences.items[rows],
                preferences.annotators[rows],
                preferences.values[rows],
            )
            results.append(
                _measure(
                    f"preference where {clause} was named",
                    part,
                    *_domain(PREFERENCE, 0),
                    confidence_level=confidence_level,
                    seed=seed,
                    tie=TIE,
                )
            )
        judgments = sum(len(columns.values) for columns in self._questions.values())
        return AgreementReport(
            events=self._events, judgments=judgments, repeated=repeated, questions=tuple(results)
        )

    def _compare(
        self, prompt: int, item: int, annotator: str, time: int, value: int, clause: str | None
    ) -> None:
        self._append(PREFERENCE, prompt, item, annotator, time, value)
        if clause is not None:
            self._append(
                CLAUSE,
                prompt,
                item,
                annotator,
                time,
                self._clauses.setdefault(clause, len(self._clauses)),
            )

    def _append(
        self, question: str, prompt: int, item: int, annotator: str, time: int, value: int
    ) -> None:
        columns = self._questions.get(question)
        if columns is None:
            columns = self._questions[question] = _Columns(
                array("Q"), array("Q"), array("I"), array("q"), array("h")
            )
        row = (
            prompt,
            item,
            self._annotators.setdefault(annotator, len(self._annotators)),
            time,
            value,
        )
        for column, cell in zip(columns, row, strict=True):
            column.append(cell)


def agreement(
    events: Iterable[FeedbackEvent], confidence_level: float, seed: int
) -> AgreementReport:
    """Agreement of a set of events on every question that they answer."""
    tally = AgreementTally()
    for event in events:
        tally.add(event)
    return tally.report(confidence_level, seed)


def agreement_of_batches(
    batches: Sequence[Path], confidence_level: float, seed: int, excluded: Collection[str] = ()
) -> AgreementReport:
    """Agreement on preferences and clauses over all batches, from their indexes, without a text
    being read.

    Args:
        batches: Folders that `plumbline.data.batch_index.index.write_batch` filled.
        confidence_level: Two-sided confidence level of the intervals.
        seed: Seed of the bootstrap.
        excluded: Ids of events that may not be used, for example because consent was withdrawn.
    """
    frame = read_index(batches, [*AnswerPairs._fields, "event", "kind", "same_response"])
    frame = frame.filter(pl.col("kind") != "verdict", ~pl.col("same_response").cast(pl.Boolean))
    if excluded:
        frame = frame.filter(~pl.col("event").is_in(list(excluded)))
    tally = AgreementTally()
    tally.add_compared(AnswerPairs(*row) for row in frame.select(AnswerPairs._fields).iter_rows())
    return tally.report(confidence_level, seed)


class _Table(NamedTuple):
    prompts: NDArray[np.uint64]
    items: NDArray[np.uint64]
    annotators: NDArray[np.int64]
    values: NDArray[np.int64]


def _newest(columns: _Columns) -> tuple[_Table, int]:
    """The newest answer of each annotator on each item, sorted by item and annotator, and how many
    older ones there were."""
    prompts, items, annotators, times, values = (np.asarray(column) for column in columns)
    order = np.lexsort((values, times, annotators, items))
    prompts, items, annotators, values = (
        prompts[order],
        items[order],
        annotators[order].astype(np.int64),
        values[order].astype(np.int64),
    )
    last = np.append((items[1:] != items[:-1]) | (annotators[1:] != annotators[:-1]), True)
    return _Table(prompts[last], items[last], annotators[last], values[last]), int((~last).sum())


def _measure(
    name: str,
    table: _Table,
    first: int,
    answers: int,
    *,
    confidence_level: float,
    seed: int,
    tie: int | None = None,
) -> QuestionAgreement:
    scale: Scale = "nominal" if first != 1 else "ordinal"
    tie = TIE if name == PREFERENCE else tie
    _, start, inverse, annotators = np.unique(
        table.items, return_index=True, return_inverse=True, return_counts=True
    )
    twice = annotators >= 2
    kept = twice[inverse]
    prompts = table.prompts[start][twice]
    once, n = int((~twice).sum()), int(twice.sum())
    common = {
        "question": name,
        "scale": scale,
        "items": n,
        "once": once,
        "judgments": int(kept.sum()),
        "annotators": len(np.unique(table.annotators[kept])),
    }
    enough = len(np.unique(prompts))
    if enough < MINIMUM_PROMPTS:
        why = (
            f"{enough} prompts were judged by two annotators or more; {MINIMUM_PROMPTS} are needed"
        )
        nothing = dict.fromkeys(("alpha", "kappa", "kappa_kind", "raw", "discounted", "untied"))
        return QuestionAgreement.model_validate(
            {**common, "status": "underpowered", "why": why, **nothing}
        )
    counts = np.zeros((n, answers), dtype=np.int64)
    rows = (np.cumsum(twice) - 1)[inverse[kept]]
    np.add.at(counts, (rows, table.values[kept] - first), 1)
    two = bool((annotators[twice] == 2).all()) and common["annotators"] == 2
    both = (
        (table.values[kept] - first).reshape(-1, 2) if two else None
    )  # rows are sorted by item and annotator
    measured = coefficients(
        AgreementTable(counts, prompts.astype(np.int64, casting="unsafe"), both, scale, tie),
        once,
        confidence_level,
        seed,
    )
    return QuestionAgreement.model_validate(
        {**common, "status": "measured", "why": "", **measured._asdict()}
    )


_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def _microseconds(time: datetime) -> int:
    return (time - _EPOCH) // timedelta(microseconds=1)


def _position(question: str) -> tuple[int, str]:
    fixed = (PREFERENCE, ACCEPTABLE, DESIRABLE)
    return (
        fixed.index(question) if question in fixed else len(fixed) + (question == CLAUSE),
        question,
    )


def _domain(question: str, clauses: int) -> tuple[int, int]:
    """The lowest value of an answer, and how many values there are."""
    return {PREFERENCE: (-1, 3), ACCEPTABLE: (0, 2), DESIRABLE: (0, 2), CLAUSE: (0, clauses)}.get(
        question, (1, 5)
    )
