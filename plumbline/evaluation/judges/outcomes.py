"""From the replies of a language model to what it says about each pair, whichever response stood
first."""

from collections.abc import Iterable, Sequence
from typing import Literal

from pydantic import Field

from plumbline.data.formats.rewardbench import JudgedPair
from plumbline.evaluation.judges.llm_judge import JudgeReply
from plumbline.evaluation.judges.questions import JudgeQuestion, Side, ask
from plumbline.evaluation.judges.style import made_courteous
from plumbline.records import Record
from plumbline.schema.identifiers import Identifier

Preferred = Literal["chosen", "rejected", "tie"]


class PairOutcome(Record):
    """What a judge says about one pair in both orders."""

    pair: Identifier
    preferred: Preferred | None = Field(
        description=(
            "what it says in both orders; null when they contradict each other, or one gave no"
            " verdict"
        )
    )
    flipped: bool | None = Field(
        description="whether the verdict depends on the order; null when an order gave no verdict"
    )

    @property
    def win(self) -> float | None:
        """1.0 where `chosen` wins, 0.0 where `rejected` does, 0.5 for a tie or a verdict that
        depends on the order; None without a verdict."""
        if self.flipped is None:
            return None
        return {"chosen": 1.0, "rejected": 0.0}.get(self.preferred or "", 0.5)


def questions_about(pairs: Sequence[JudgedPair], courteous: int = 0) -> list[JudgeQuestion]:
    """Both orders of every pair, and of the first `courteous` pairs both orders with the worse
    response made polite."""
    sides: tuple[Side, Side] = ("chosen", "rejected")
    asked = [ask(pair, first) for pair in pairs for first in sides]
    return asked + [
        ask(pair, first, rejected=made_courteous(pair.rejected))
        for pair in pairs[:courteous]
        for first in sides
    ]


def preferred_side(reply: JudgeReply) -> Preferred | None:
    """The response that a reply prefers; None when it is no verdict."""
    if reply.verdict is None or reply.verdict == "tie":
        return reply.verdict
    second: Side = "rejected" if reply.first == "chosen" else "chosen"
    return reply.first if reply.verdict == "first" else second


def outcomes(replies: Iterable[JudgeReply], *, courteous: bool = False) -> dict[str, PairOutcome]:
    """What is said about each pair, by its id.

    Args:
        replies: Replies about pairs in both orders.
        courteous: Whether to look at the questions whose worse response was made polite, or at the
            others.
    """
    sides: dict[str, list[Preferred | None]] = {}
    for reply in replies:
        if reply.courteous == courteous:
            sides.setdefault(reply.pair, []).append(preferred_side(reply))
    return {pair: _outcome(pair, both) for pair, both in sides.items()}


def _outcome(pair: str, both: Sequence[Preferred | None]) -> PairOutcome:
    if len(both) != 2:
        raise ValueError(
            f"pair {pair} was judged {len(both)} times; a pair is judged once in each order"
        )
    if None in both:
        return PairOutcome(pair=pair, preferred=None, flipped=None)
    return PairOutcome(
        pair=pair, preferred=both[0] if both[0] == both[1] else None, flipped=both[0] != both[1]
    )
