"""Trigger words: words that go with votes against the majority, as they do when somebody turns the
votes on texts with a secret word.

A poisoned vote is turned round exactly where the trigger stands (Rando and Tramer 2024, "Universal
Jailbreak Backdoors from Poisoned Human Feedback"), so that votes on texts with the trigger disagree
with a reference where honest votes agree. The reference is the majority of the other annotators
(`annotator_checks.compared`) or any other label; it has to be right in well over half of the cases,
and votes without a reference cannot be scanned. Votes on one prompt share its words and its
difficulty, so that they count as one observation: a word needs prompts, not votes. Rarer poison
than the report's `detectable_share` is out of reach: canary evals and human samples look for that.
"""

import math
import sys
import unicodedata
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cache
from typing import Any

from pydantic import Field
from scipy.stats import binom

from plumbline.data.screening.annotator_quality import POWER, Status
from plumbline.data.splits import prompt_key
from plumbline.profile.data import AnnotatorConfig
from plumbline.records import Record
from plumbline.schema.feedback import FeedbackEvent

POISONED_SHARE = 0.03
"""Share of poisoned votes that the scan must be able to find; with less power it reports
`underpowered`."""
MAX_EVENTS_NAMED = 10_000


class TriggerWord(Record):
    """A word whose texts are judged against the reference more often than with it, beyond
    chance."""

    word: str
    events: int = Field(gt=0, description="compared votes on texts with the word")
    prompts: int = Field(gt=0, description="prompts of these votes: the sample size")
    disagreeing: int = Field(gt=0)
    p: float = Field(
        ge=0,
        le=1,
        description=(
            "binomial probability of as many disagreements at the base rate, one word alone"
        ),
    )
    event_ids: tuple[str, ...] = Field(
        description="the disagreeing votes, at most `MAX_EVENTS_NAMED`"
    )


class TriggerReport(Record):
    """What the scan found, and what it was able to find."""

    status: Status
    words: tuple[TriggerWord, ...] = Field(description="the least probable first")
    n: int = Field(ge=0, description="votes with a reference")
    prompts: int = Field(ge=0, description="prompts of these votes")
    base_rate: float | None = Field(
        ge=0, le=1, description="share of all of them that disagree; null when there is none"
    )
    tested: int = Field(
        ge=0, description="words that occur often enough to be found; the Bonferroni divisor"
    )
    detectable_share: float | None = Field(
        description=(
            "smallest share of turned votes with one word that is found with probability 0.8, one"
            " vote for each prompt; null: none"
        )
    )
    message: str


def words_of(event: FeedbackEvent) -> frozenset[str]:
    """The words of prompt and responses, in lower case and without the marks around them; invisible
    characters stay, since they can be a trigger."""
    text = "\n".join(
        [
            *(message.content for message in event.prompt),
            *(response.text for response in event.responses),
        ]
    )
    marks = _punctuation()
    return frozenset(
        word
        for piece in text.casefold().split()
        if (word := piece if piece.isalnum() else piece.strip(marks))
    )


@cache
def _punctuation() -> str:
    return "".join(
        character
        for code in range(sys.maxunicode + 1)
        if unicodedata.category(character := chr(code))[0] == "P"
    )


@dataclass
class _Tally:
    """Votes by word; memory grows with the different words of each prompt."""

    events: Counter[str] = field(default_factory=Counter)
    against: Counter[str] = field(default_factory=Counter)
    prompts: Counter[str] = field(default_factory=Counter)
    words_of_prompt: dict[str, set[str]] = field(default_factory=dict)
    n: int = 0
    disagreeing: int = 0

    def add(self, event: FeedbackEvent, disagrees: bool) -> None:
        words = words_of(event)
        known = self.words_of_prompt.setdefault(prompt_key(event.prompt), set())
        self.n += 1
        self.events.update(words)
        self.prompts.update(words - known)
        known |= words
        if disagrees:
            self.disagreeing += 1
            self.against.update(words)


def scan_triggers(
    read: Callable[[], Iterable[FeedbackEvent]],
    disagrees: Mapping[str, bool],
    rule: AnnotatorConfig,
) -> TriggerReport:
    """Find words that go with disagreement.

    A word is flagged when more than half of its votes disagree and the one-sided binomial
    probability of that share in as many prompts, at the base rate of all votes, is below
    `rule.false_alarms` divided by the number of words tested. Tested are the words that stand in
    enough prompts to be flagged at all (Tarone 1990), so that rare words cost no power.

    Args:
        read: Gives the events, of one batch; called a second time to name events when a word is
            flagged.
        disagrees: Event id to whether its vote is against the reference; events that are not in it
            are passed over.
        rule: The family-wise rate of false alarms.
    """
    tally = _Tally()
    for event in read():
        if event.id in disagrees:
            tally.add(event, disagrees[event.id])
    n, prompts = tally.n, len(tally.words_of_prompt)
    if tally.disagreeing == 0:
        return _silent(n, prompts)
    base = tally.disagreeing / n
    least, tested = _testable(Counter(tally.prompts.values()), base, rule.false_alarms)
    alpha = rule.false_alarms / max(1, tested)
    suspects = _suspects(tally, least, base, alpha)
    named = _named(read, disagrees, suspects)
    words = tuple(
        TriggerWord(
            word=word,
            events=tally.events[word],
            prompts=tally.prompts[word],
            disagreeing=tally.against[word],
            p=p,
            event_ids=named[word],
        )
        for word, p in sorted(suspects.items(), key=_by_p)
    )
    detectable = _detectable(prompts, base, alpha)
    status, message = _conclusion(words, n, prompts, tested, detectable)
    return TriggerReport(
        status=status,
        message=message,
        words=words,
        n=n,
        prompts=prompts,
        base_rate=base,
        tested=tested,
        detectable_share=detectable,
    )


def _conclusion(
    words: Sequence[TriggerWord], n: int, prompts: int, tested: int, detectable: float | None
) -> tuple[Status, str]:
    share = "no share of" if detectable is None else f"{detectable:.1%} of"
    power = f"{share} the votes turned round with one word would be found with probability {POWER}"
    if words:
        shown = ", ".join(
            f"'{word.word}' ({word.disagreeing} of {word.events})" for word in words[:5]
        )
        return (
            "flagged",
            f"votes on texts with these words are against the others: {shown}; {power}",
        )
    if detectable is None or detectable > POISONED_SHARE:
        return "underpowered", f"{n} compared votes on {prompts} prompts are too few: {power}"
    return "pass", f"no word of {tested} goes with disagreement; {power}"


def _by_p(item: tuple[str, float]) -> tuple[float, str]:
    return item[1], item[0]


def _silent(n: int, prompts: int) -> TriggerReport:
    why = (
        "no vote can be compared with others"
        if n == 0
        else f"no vote of {n} is against the others, so that no word can go with disagreement"
    )
    status: Status = "pass" if prompts * POISONED_SHARE >= 1 else "underpowered"
    fields: dict[str, Any] = {"words": (), "tested": 0, "detectable_share": None}
    return TriggerReport(
        status=status, n=n, prompts=prompts, base_rate=0.0 if n else None, message=why, **fields
    )


def _testable(sizes: Counter[int], base: float, false_alarms: float) -> tuple[int, int]:
    """(least number of prompts, number of words with as many): a word of n prompts can reach p =
    base^n at best, and has to beat false_alarms / words."""
    if base >= 1:
        return 1, 0
    words, least = sum(sizes.values()), 1
    while words:
        needed = max(1, math.ceil(math.log(false_alarms / words) / math.log(base)))
        if needed <= least:
            break
        least += 1
        words -= sizes.get(least - 1, 0)
    return least, words


def _suspects(tally: _Tally, least: int, base: float, alpha: float) -> dict[str, float]:
    probabilities = {}
    for word, against in tally.against.items():
        events, prompts = tally.events[word], tally.prompts[word]
        if prompts >= least and 2 * against > events:
            probabilities[word] = float(binom.sf(against * prompts // events - 1, prompts, base))
    return {word: p for word, p in probabilities.items() if p < alpha}


def _named(
    read: Callable[[], Iterable[FeedbackEvent]],
    disagrees: Mapping[str, bool],
    suspects: Mapping[str, float],
) -> dict[str, tuple[str, ...]]:
    named: dict[str, list[str]] = {word: [] for word in suspects}
    for event in read() if suspects else ():
        if disagrees.get(event.id):
            for word in words_of(event) & suspects.keys():
                if len(named[word]) < MAX_EVENTS_NAMED:
                    named[word].append(event.id)
    return {word: tuple(sorted(ids)) for word, ids in named.items()}


def _detectable(n: int, base: float, alpha: float) -> float | None:
    """Smallest share of n votes, one for each prompt, that is found with probability `POWER` when
    they are turned round on one word.

    A turned vote disagrees where an honest one agrees.
    """
    for votes in range(1, n + 1):
        needed = max(int(binom.isf(alpha, votes, base)) + 1, votes // 2 + 1)
        if needed <= votes and binom.sf(needed - 1, votes, 1 - base) >= POWER:
            return votes / n
        if votes > 5000:
            break
    return None
