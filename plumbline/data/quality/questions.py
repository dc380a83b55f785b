"""What an event says, as answers to single questions that can be compared between annotators."""

import hashlib
import itertools
from collections.abc import Iterator, Sequence
from typing import Final, NamedTuple

from plumbline.data.splits import judged_pair, prompt_key
from plumbline.records import canonical_json
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Comparison, FeedbackEvent, Ranking, ResponseLabel

PREFERENCE: Final = "preference"
ACCEPTABLE: Final = "acceptable"
DESIRABLE: Final = "desirable"


class AnnotatorLabel(NamedTuple):
    """One answer of one annotator, without texts."""

    question: str
    prompt: int
    """First 64 bits of the digest of the prompt (see `prompt_key`)."""
    item: int
    """First 64 bits of the SHA-256 of what was judged."""
    value: int
    """Preference -1, 0 or 1 (1: the response whose text sorts first is better); rating 1 to 5;
    otherwise 0 or 1."""


def answers_of(event: FeedbackEvent) -> Iterator[AnnotatorLabel]:
    """The answers that an event holds, except for its clause.

    A ranking answers once for each pair of its responses. A rating belongs to the response beside
    the others that it was shown with. Of responses with equal texts none can be better, and nothing
    tells which was rated: they are left out.
    """
    prompt = int(prompt_key(event.prompt)[:16], 16)
    texts = [response.text for response in event.responses]
    for first, second, sign in _compared(event):
        if texts[first] != texts[second]:
            value = sign if texts[first] < texts[second] else -sign
            yield AnnotatorLabel(
                PREFERENCE,
                prompt,
                int(judged_pair(event.prompt, [texts[first], texts[second]])[:16], 16),
                value,
            )
    rated: list[tuple[str, int, int]] = [
        (rating.dimension, rating.response, int(rating.score)) for rating in event.ratings
    ]
    rated += [
        (ACCEPTABLE, response, int(flag))
        for response, flag in enumerate(event.acceptable)
        if flag is not None
    ]
    if isinstance(event.judgment, ResponseLabel):
        rated.append((DESIRABLE, 0, int(event.judgment.desirable)))
    if rated:
        items = _shown(event.prompt, texts)
        for question, response, value in rated:
            if texts.count(texts[response]) == 1:
                yield AnnotatorLabel(question, prompt, items[response], value)


def _shown(prompt: Sequence[Message], texts: Sequence[str]) -> list[int]:
    """The item of each response: the response beside all that were shown with it, in whatever
    order."""
    together = hashlib.sha256(
        canonical_json([[[message.role, message.content] for message in prompt], sorted(texts)])
    ).digest()
    return [
        int.from_bytes(hashlib.sha256(together + text.encode()).digest()[:8], "big")
        for text in texts
    ]


def _compared(event: FeedbackEvent) -> Iterator[tuple[int, int, int]]:
    """Pairs of responses with 1 when the first is better, -1 when the second is, 0 for a tie."""
    if isinstance(event.judgment, Comparison):
        preferred = event.judgment.preferred
        yield 0, 1, 0 if preferred is None else (1, -1)[preferred]
    elif isinstance(event.judgment, Ranking):
        place = {
            response: number
            for number, responses in enumerate(event.judgment.order)
            for response in responses
        }
        for first, second in itertools.combinations(range(len(event.responses)), 2):
            yield first, second, (place[first] < place[second]) - (place[first] > place[second])
