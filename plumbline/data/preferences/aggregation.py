"""Votes become decisions: which of two responses people prefer, how sure that is, and why a vote
does not count."""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass, fields, replace
from typing import NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from plumbline.data.adjudication.decisions import Adjudication
from plumbline.data.preferences.vote_table import RANKING, TIE, VERDICT, VoteTable
from plumbline.data.preferences.vote_texts import VoteTexts
from plumbline.errors import InvalidPreferences
from plumbline.schema.rubric import Rubric

CONTRADICTION, LOW_AGREEMENT, TIE_REASON, NEAR_DUPLICATE = (
    "contradiction",
    "low agreement",
    "tie",
    "near duplicate",
)
_EVEN = 1e-9
"""Difference of two sums of weights below which they are equal: weights are fractions like 1/3, and
their sums are rounded."""


class ExclusionReasons:
    """Why each vote does not count: the first reason that was found for it."""

    def __init__(self, votes: int) -> None:
        self.code = np.zeros(votes, dtype=np.int16)
        """0 where a vote counts; reasons are numbered in the order in which they are applied."""
        self.texts: list[str] = [""]

    def mark(self, votes: NDArray[np.bool_] | NDArray[np.int64], text: str) -> None:
        """Set votes aside (mask or row numbers) that have no reason yet."""
        rows = np.flatnonzero(votes) if votes.dtype == np.bool_ else votes
        rows = rows[self.code[rows] == 0]
        if not len(rows):
            return
        if text not in self.texts:
            self.texts.append(text)
        self.code[rows] = self.texts.index(text)

    def count(self) -> NDArray[np.bool_]:
        """Mask of the votes that count."""
        mask: NDArray[np.bool_] = self.code == 0
        return mask

    def having(self, text: str) -> NDArray[np.bool_]:
        """Mask of the votes that were set aside with this reason."""
        number = self.texts.index(text) if text in self.texts else -1
        mask: NDArray[np.bool_] = self.code == number
        return mask

    def of(self, vote: int) -> str:
        """The reason of one vote; empty if it counts."""
        return self.texts[int(self.code[vote])]


@dataclass(frozen=True)
class DecidedPairs:
    """Judged pairs with a decision, as columns; `verdict` ones are single responses and their
    desirability."""

    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    """The votes of a decision are `rows[start:stop]`, sorted by event id."""
    row: NDArray[np.int64]
    """The vote whose text is copied: the first one for the chosen response."""
    side: NDArray[np.int8]
    """0 if the response whose text sorts first is chosen (or the one response is desirable), else
    1."""
    id: NDArray[np.bytes_]
    votes: NDArray[np.int64]
    weight: NDArray[np.float64]
    agreement: NDArray[np.float64]
    share: NDArray[np.float64]
    """Share of the weight for the chosen response; `agreement` is the same but for decisions of a
    person, where it is 1."""
    margin: NDArray[np.float64]
    synthetic: NDArray[np.bool_]
    adjudicated: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.row)

    def take(self, order: NDArray[np.int64] | NDArray[np.bool_]) -> Self:
        """The decisions with these numbers, or under this mask."""
        return replace(
            self, **{field.name: getattr(self, field.name)[order] for field in fields(self)}
        )


@dataclass(frozen=True)
class AggregatedLabels:
    """What came of the votes."""

    rows: NDArray[np.int64]
    """Votes by judged pair and then by event."""
    pairs: DecidedPairs
    labels: DecidedPairs
    disputed: NDArray[np.int64]
    """Judged pairs (numbers of groups) that wait for adjudication."""


def set_aside_older(votes: VoteTable, reasons: ExclusionReasons, rubric: Rubric) -> None:
    """Of the judgments of one pair keep those under the newest rubric, and of each annotator the
    newest.

    The newest rubric is the current one, then the accepted ones from the highest version down. Of
    two judgments of one annotator at the same time the one with the greater event id counts. A tie
    is a judgment too: it takes back what the annotator said before.
    """
    columns = votes.columns
    rank = rubric_ranks(rubric)
    ranks = np.array([rank.get(name, len(rank)) for name in votes.names["rubric"]] or [0])[
        columns["rubric"]
    ]
    alive = np.flatnonzero(reasons.count())
    if len(alive) and ranks[alive].min() != ranks[alive].max():
        newest = np.full(int(votes.group.max()) + 1, len(rank))
        np.minimum.at(newest, votes.group[alive], ranks[alive])
        reasons.mark(alive[ranks[alive] > newest[votes.group[alive]]], "superseded rubric")
        alive = np.flatnonzero(reasons.count())
    order = alive[
        np.lexsort((alive, columns["time"][alive], columns["annotator"][alive], votes.group[alive]))
    ]
    again = (votes.group[order][1:] == votes.group[order][:-1]) & (
        columns["annotator"][order][1:] == columns["annotator"][order][:-1]
    )
    reasons.mark(order[:-1][again], "judged again")


def rubric_ranks(rubric: Rubric) -> dict[str, int]:
    """Labels of rubrics whose judgments count, the newest first."""

    def version(label: str) -> int:
        number = label.rpartition("@")[2]
        return int(number) if number.isdecimal() else 0

    return {
        label: rank
        for rank, label in enumerate(
            [
                rubric.label,
                *sorted(
                    set(rubric.accepts) - {rubric.label}, key=lambda name: (-version(name), name)
                ),
            ]
        )
    }


def aggregate_votes(
    votes: VoteTable,
    reasons: ExclusionReasons,
    rubric: Rubric,
    min_agreement: float,
    adjudications: Mapping[str, Adjudication],
    texts: VoteTexts,
) -> AggregatedLabels:
    """Decide each judged pair by the weight of its votes, or as a person decided.

    A comparison and a verdict weigh 1; a ranking divides its one vote evenly among its untied
    pairs. The margin of a pair is the mean, by weight, of the margins of the votes for it: the
    rubric's margin of the strength, and in a ranking `slightly` for each place between the two, at
    most `significantly`. A decision of a person turns the votes over and has no strength of its
    own: without a vote for the chosen response the margin is that of `negligible`.

    Args:
        votes: All votes.
        reasons: Those that count; gets the reasons `tie`, `adjudicated: ...`, `contradiction` and
            `low agreement`.
        rubric: Gives the margins.
        min_agreement: Share of the weight below which a pair is set aside.
        adjudications: Decisions of people by item key.
        texts: Reads the responses of a vote.
    """
    reasons.mark(votes.winner == TIE, TIE_REASON)
    decided = _adjudicated(votes, reasons, adjudications, texts)
    # Votes that count, judged pair by judged pair: votes starts[i] to stops[i] are of one pair.
    alive = np.flatnonzero(reasons.count())
    rows = alive[np.argsort(votes.group[alive], kind="stable")]
    group = votes.group[rows]
    starts = np.flatnonzero(np.diff(group, prepend=-1))
    stops = np.append(starts[1:], len(rows))[: len(starts)]
    first, total = _weights(votes, rows, starts, stops)
    person = np.fromiter(
        (decided.get(number, -1) for number in group[starts].tolist()),
        dtype=np.int8,
        count=len(starts),
    )
    # A pair is open unless a person decided it; side 0 is the left response.
    open_ = person < 0
    side = np.where(open_, first < total / 2, person).astype(np.int8)
    share = np.where(side == 0, first, total - first) / total
    even = open_ & (np.abs(2 * first - total) < _EVEN)
    low = open_ & ~even & (share < min_agreement)
    for mask, reason in ((even, CONTRADICTION), (low, LOW_AGREEMENT)):
        reasons.mark(rows[np.repeat(mask, stops - starts)], reason)
    verdict = votes.columns["kind"][rows[starts]] == VERDICT
    counted = _decisions(
        votes,
        _CountedVotes(rows, starts, stops, side, share, total, ~open_).take(~even & ~low),
        rubric,
        texts,
    )
    verdicts = verdict[~even & ~low]
    pairs, labels = (
        decisions.take(np.argsort(decisions.id, kind="stable"))
        for decisions in (counted.take(~verdicts), counted.take(verdicts))
    )
    return AggregatedLabels(rows, pairs, labels, group[starts][(even | low) & ~verdict])


class _CountedVotes(NamedTuple):
    """Groups of votes, counted."""

    rows: NDArray[np.int64]
    start: NDArray[np.int64]
    stop: NDArray[np.int64]
    side: NDArray[np.int8]
    share: NDArray[np.float64]
    total: NDArray[np.float64]
    by_person: NDArray[np.bool_]

    def take(self, mask: NDArray[np.bool_]) -> "_CountedVotes":
        return _CountedVotes(
            self.rows,
            self.start[mask],
            self.stop[mask],
            self.side[mask],
            self.share[mask],
            self.total[mask],
            self.by_person[mask],
        )


def _adjudicated(
    votes: VoteTable,
    reasons: ExclusionReasons,
    adjudications: Mapping[str, Adjudication],
    texts: VoteTexts,
) -> dict[int, int]:
    """Side that a person chose, by group; groups that a person took out are set aside."""
    sides: dict[int, int] = {}
    if not adjudications:
        return sides
    alive = np.flatnonzero(reasons.count())
    by_group = alive[np.argsort(votes.group[alive], kind="stable")]
    sorted_groups = votes.group[by_group]
    # numpy leaves zero bytes at the end of a byte string out; a key has to be compared without
    # them.
    keys = {
        item: np.bytes_(bytes.fromhex(item.removeprefix("sha256:")).rstrip(b"\0"))
        for item in adjudications
    }
    groups, firsts = np.unique(votes.group, return_index=True)
    digests = votes.judged[firsts]
    for item, decision in sorted(adjudications.items()):
        place = int(np.searchsorted(digests, keys[item]))
        if place >= len(digests) or digests[place] != keys[item]:
            continue
        number = int(groups[place])
        rows = by_group[
            np.searchsorted(sorted_groups, number) : np.searchsorted(
                sorted_groups, number, side="right"
            )
        ]
        if decision.decision in ("tie", "exclude"):
            reasons.mark(rows, f"adjudicated: {decision.decision}")
        elif len(rows):
            digests_of_texts = [
                "sha256:" + hashlib.sha256(text.encode()).hexdigest()
                for text in texts.responses(int(rows[0]))
            ]
            if decision.chosen not in digests_of_texts:
                raise InvalidPreferences(
                    f"{item}: decision {decision.id} chooses {decision.chosen}, which is neither of"
                    " its two responses; decide it again"
                )
            sides[number] = digests_of_texts.index(decision.chosen)
    return sides


def _weights(
    votes: VoteTable,
    rows: NDArray[np.int64],
    starts: NDArray[np.int64],
    stops: NDArray[np.int64],
) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Weight for the first side and in all, of each group; sums of fractions are correctly rounded,
    so that their order makes no difference."""
    share, left = votes.columns["share"][rows], votes.winner[rows] == 0
    total = (stops - starts).astype(np.float64)
    first = np.add.reduceat(left.astype(np.int64), starts).astype(np.float64)
    for number in np.flatnonzero(np.maximum.reduceat(share, starts) > 1).tolist():
        span = slice(starts[number], stops[number])
        weights = (1 / share[span].astype(np.float64)).tolist()
        total[number] = math.fsum(weights)
        first[number] = math.fsum(
            weight for weight, is_left in zip(weights, left[span].tolist(), strict=True) if is_left
        )
    return first, total


def _decisions(
    votes: VoteTable, counted: _CountedVotes, rubric: Rubric, texts: VoteTexts
) -> DecidedPairs:
    rows, starts, stops, side, share, total, by_person = counted
    margins = _margins(votes, rows, rubric)
    chosen, margin = rows[starts], margins[starts]
    synthetic = votes.columns["synthetic"][chosen]
    turned: list[int] = []
    for number in np.flatnonzero((stops - starts > 1) | by_person).tolist():
        span = rows[starts[number] : stops[number]]
        winning = np.flatnonzero(votes.winner[span] == side[number])
        synthetic[number] = votes.columns["synthetic"][span].any()
        if len(winning):
            chosen[number] = span[winning[0]]
            weights = (1 / votes.columns["share"][span[winning]].astype(np.float64)).tolist()
            values = margins[starts[number] + winning].tolist()
            margin[number] = math.fsum(
                weight * value for weight, value in zip(weights, values, strict=True)
            ) / math.fsum(weights)
        else:
            margin[number] = rubric.margins.negligible
            turned.append(number)
    identity = votes.pair[chosen]
    for number in turned:
        identity[number] = bytes.fromhex(texts.pair_id(int(chosen[number]), int(side[number])))
    agreement = np.where(by_person, 1.0, share)
    return DecidedPairs(
        starts,
        stops,
        chosen,
        side,
        identity,
        stops - starts,
        total,
        agreement,
        share,
        margin,
        synthetic,
        by_person,
    )


def _margins(votes: VoteTable, rows: NDArray[np.int64], rubric: Rubric) -> NDArray[np.float64]:
    table = np.array(rubric.margins.table())
    kind, places = votes.columns["kind"][rows], votes.columns["places"][rows]
    ranked = np.minimum(places * rubric.margins.slightly, rubric.margins.significantly)
    return np.where(
        kind == RANKING,
        ranked,
        np.where(kind == VERDICT, 0.0, table[votes.columns["strength"][rows]]),
    )
