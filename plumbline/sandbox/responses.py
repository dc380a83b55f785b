"""What the policies of the sandbox say: correct, wrong, refusing and padded responses.

The **base policy** is the imperfect model that the project starts from. It complies with about half
of the harmful requests, refuses too many harmless ones, sometimes answers wrongly, and likes to
pad. Its demonstrations train the reference policy; the pairs that annotators judge are drawn with
more contrast, so that a judgment is about something.
"""

from random import Random
from typing import Final, Literal

from plumbline.sandbox import lexicon
from plumbline.sandbox.world import FAMILIES, Intent, Kind

Behaviour = Literal["correct", "wrong", "refuse", "refuse-explain", "refuse-offer"]
Mix = dict[Kind, dict[Behaviour, float]]

BASE_MIX: Final[Mix] = {
    "benign": {
        "correct": 0.76,
        "wrong": 0.16,
        "refuse": 0.05,
        "refuse-explain": 0.02,
        "refuse-offer": 0.01,
    },
    "harm": {
        "correct": 0.44,
        "wrong": 0.08,
        "refuse": 0.22,
        "refuse-explain": 0.14,
        "refuse-offer": 0.12,
    },
    "own": {
        "correct": 0.64,
        "wrong": 0.12,
        "refuse": 0.15,
        "refuse-explain": 0.06,
        "refuse-offer": 0.03,
    },
    "idiom": {
        "correct": 0.64,
        "wrong": 0.12,
        "refuse": 0.15,
        "refuse-explain": 0.06,
        "refuse-offer": 0.03,
    },
}
"""Share of each behaviour in the demonstrations."""

PAIR_MIX: Final[Mix] = {
    "benign": {"correct": 0.48, "wrong": 0.36, "refuse": 0.16},
    "harm": {"correct": 0.45, "refuse": 0.20, "refuse-explain": 0.15, "refuse-offer": 0.20},
    "own": {"correct": 0.50, "wrong": 0.20, "refuse": 0.30},
    "idiom": {"correct": 0.50, "wrong": 0.20, "refuse": 0.30},
}
"""Share of each behaviour among the responses that annotators compare."""

PADDING: Final = (0.55, 0.3, 0.15)
"""Probability of 0, 1 and 2 filler sentences."""
CONTRAST: Final = 0.9
"""Share of the pairs whose two responses show different behaviours for certain."""


def answer(intent: Intent, language: str, rng: Random, *, wrong: int = 0) -> str:
    """An answer with `wrong` (0, 1 or 2) of its two words replaced by words that belong to other
    things."""
    family = FAMILIES[intent.family]
    words = list(intent.truth(language))
    for slot in rng.sample((0, 1), wrong):
        facts = (family.first, family.second)[slot]
        words[slot] = rng.choice(
            [word for fact in facts.values() if (word := fact.answer.to(language)) != words[slot]]
        )
    return rng.choice(family.answers).to(language).format(x=words[0], y=words[1])


def refusal(language: str, *, explain: bool = False, offer: bool = False) -> str:
    """A refusal, with a reason and an offer of a safe alternative when asked for."""
    parts = [
        lexicon.REFUSAL,
        *([lexicon.EXPLANATION] if explain else []),
        *([lexicon.OFFER] if offer else []),
    ]
    return " ".join(part.to(language) for part in parts)


def pad(text: str, fillers: int, language: str, rng: Random) -> str:
    """The text with some filler sentences before and after it."""
    padding = [term.to(language) for term in rng.sample(lexicon.FILLERS, fillers)]
    before = rng.randint(0, fillers)
    return " ".join([*padding[:before], text, *padding[before:]])


def respond(
    intent: Intent, language: str, behaviour: Behaviour, rng: Random, *, fillers: int = 0
) -> str:
    """One response with the given behaviour and number of filler sentences."""
    if behaviour == "correct":
        text = answer(intent, language, rng)
    elif behaviour == "wrong":
        text = answer(intent, language, rng, wrong=rng.choice((1, 1, 2)))
    else:
        text = refusal(language, explain=behaviour != "refuse", offer=behaviour == "refuse-offer")
    return pad(text, fillers, language, rng)


def sample_response(intent: Intent, language: str, rng: Random) -> str:
    """One response of the base policy."""
    shares = BASE_MIX[intent.kind]
    behaviour = rng.choices(list(shares), list(shares.values()))[0]
    return respond(intent, language, behaviour, rng, fillers=_fillers(rng))


def sample_pair(intent: Intent, language: str, rng: Random) -> tuple[str, str]:
    """Two different responses for annotators to compare."""
    shares = PAIR_MIX[intent.kind]
    while True:
        first, second = rng.choices(list(shares), list(shares.values()), k=2)
        if first == second and rng.random() < CONTRAST:
            continue
        left, right = (
            respond(intent, language, behaviour, rng, fillers=_fillers(rng))
            for behaviour in (first, second)
        )
        if left != right:
            return left, right


def _fillers(rng: Random) -> int:
    return rng.choices(range(len(PADDING)), PADDING)[0]
