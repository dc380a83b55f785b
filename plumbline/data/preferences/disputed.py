"""The queue of pairs that votes do not decide, as adjudicators see them."""

import math
from collections.abc import Iterator
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from plumbline.data.adjudication.decisions import QueueItem, VoteView
from plumbline.data.preferences.aggregation import (
    CONTRADICTION,
    LOW_AGREEMENT,
    TIE_REASON,
    ExclusionReasons,
)
from plumbline.data.preferences.vote_table import TIE, VoteTable, hexadecimal
from plumbline.data.preferences.vote_texts import VoteTexts
from plumbline.records import parse_json
from plumbline.schema.conversations import Message


def queue_items(
    votes: VoteTable,
    reasons: ExclusionReasons,
    disputed: NDArray[np.int64],
    texts: VoteTexts,
    rubric: str,
) -> Iterator[QueueItem]:
    """The disputed pairs with every vote that counted, ties included; sorted by item.

    Args:
        votes: All votes.
        reasons: Why votes were set aside.
        disputed: Numbers of the judged pairs, rising.
        texts: The texts of the votes.
        rubric: Label of the rubric that the pairs are to be judged by.
    """
    if not len(disputed):
        return
    shown = np.flatnonzero(
        reasons.having(CONTRADICTION) | reasons.having(LOW_AGREEMENT) | reasons.having(TIE_REASON)
    )
    rows = shown[np.argsort(votes.group[shown], kind="stable")]
    starts, stops = (
        np.searchsorted(votes.group[rows], disputed, side=side) for side in ("left", "right")
    )
    for start, stop in zip(starts.tolist(), stops.tolist(), strict=True):
        members = rows[start:stop]
        why: Literal["low agreement", "contradiction"] = (
            "contradiction"
            if CONTRADICTION in {reasons.of(row) for row in members.tolist()}
            else "low agreement"
        )
        yield _item(votes, members, texts, rubric, why)


def _item(
    votes: VoteTable,
    rows: NDArray[np.int64],
    texts: VoteTexts,
    rubric: str,
    why: Literal["low agreement", "contradiction"],
) -> QueueItem:
    first = int(rows[0])
    weights: dict[int, list[float]] = {0: [], 1: [], TIE: []}
    views = []
    for row in rows.tolist():
        winner = int(votes.winner[row])
        weights[winner].append(1 / int(votes.columns["share"][row]))
        views.append(_view(parse_json(texts.line(row)), winner))
    sums = [math.fsum(weights[side]) for side in (0, 1)]
    views.sort(key=lambda view: (view.annotator, view.event))
    left, right = texts.responses(first)
    return QueueItem(
        item="sha256:" + hexadecimal(votes.judged[first], 32),
        rubric=rubric,
        prompt=tuple(
            Message(role=message.role, content=message.content)
            for message in texts.prompts(rows[:1])[0]
        ),
        responses=(left, right),
        votes=tuple(views),
        agreement=max(sums) / math.fsum(sums),
        clauses=tuple(sorted({view.clause for view in views if view.clause is not None})),
        why=why,
    )


def _view(event: dict[str, Any], winner: int) -> VoteView:
    preferred: Literal[0, 1] | None = None if winner == TIE else 0 if winner == 0 else 1
    return VoteView(
        event=event["id"],
        annotator=event["annotator"],
        preferred=preferred,
        strength=event["judgment"].get("strength"),
        clause=event["clause"],
        reason=event["reason"],
        rubric=event["rubric"],
    )
