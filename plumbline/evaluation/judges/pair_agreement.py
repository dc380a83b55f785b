"""How far a judge of pairs agrees with people: in all, by slice, where the better response is the
longer one, and with length and politeness held equal."""

from collections.abc import Iterable, Sequence
from typing import Any

from plumbline.data.formats.rewardbench import JudgedPair
from plumbline.data.quality.baselines import human_ceiling
from plumbline.errors import InsufficientEvidence
from plumbline.evaluation.judges.style import courtesies
from plumbline.records import canonical_json, sha256
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import WinRate
from plumbline.schema.feedback import FeedbackEvent
from plumbline.statistics.intervals import Outcome, proportion
from plumbline.statistics.verdicts import estimated
from plumbline.statistics.win_rates import win_rate


def pair_agreement(
    judge: str,
    identity: str,
    pairs: Sequence[JudgedPair],
    wins: Sequence[float | None],
    events: Iterable[FeedbackEvent],
    confidence_level: float,
) -> dict[str, Any]:
    """Fields of the record that follow from who wins each pair; 1.0 is right, 0.0 wrong, and what
    lies between is undecided."""
    right = [None if win not in (0.0, 1.0) else win == 1.0 for win in wins]
    clusters = [cluster_of_pair(pair) for pair in pairs]
    lengths = [
        (float(len(pair.chosen.split())), float(len(pair.rejected.split()))) for pair in pairs
    ]
    polite = [(float(courtesies(pair.chosen)), float(courtesies(pair.rejected))) for pair in pairs]

    def among(members: Sequence[bool]) -> Estimate | None:
        chosen = [position for position, member in enumerate(members) if member]
        return share(
            [right[position] for position in chosen],
            confidence_level,
            [clusters[position] for position in chosen],
        )

    slices = {
        name: among([pair.subset == name for pair in pairs])
        for name in sorted({pair.subset for pair in pairs})
    }
    ceiling = human_ceiling(events)
    return {
        "judge": judge,
        "identity": identity,
        "items": len(pairs),
        "agreement": among([True] * len(pairs)),
        "ceiling": None if ceiling is None else share(ceiling, confidence_level, None),
        "slices": {name: estimate for name, estimate in slices.items() if estimate is not None},
        "longer": among([chosen > rejected for chosen, rejected in lengths]),
        "shorter": among([chosen < rejected for chosen, rejected in lengths]),
        "length": _win_rate(wins, lengths, confidence_level, clusters),
        "politeness": _win_rate(wins, polite, confidence_level, clusters),
    }


def _win_rate(
    wins: Sequence[float | None],
    styles: Sequence[tuple[float, float]],
    confidence_level: float,
    clusters: Sequence[str],
) -> WinRate | None:
    try:
        return win_rate(wins, styles, confidence_level, clusters)
    except InsufficientEvidence:
        return None


def share(
    values: Sequence[Outcome], confidence_level: float, clusters: Sequence[str] | None
) -> Estimate | None:
    """A share with its interval; None with too little to estimate it from."""
    return estimated(lambda: proportion(values, confidence_level, clusters))


def cluster_of_pair(pair: JudgedPair) -> str:
    """Name of the prompt: pairs about one prompt are not independent."""
    return sha256(canonical_json([message.model_dump() for message in pair.prompt]))
