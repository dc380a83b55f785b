"""What people ask, day by day: the sandbox's own mix at first, then more and more in the second
language."""

import itertools
from random import Random
from typing import Final

from plumbline.sandbox.datasets import PAIR_SHARES, SandboxOptions, Scene, scenes

PROMPTS_PER_DAY: Final = 1080
DRIFTED_SHARE: Final = 0.8
"""Share of the second language on the last day."""


def second_language_share(options: SandboxOptions, day: int, days: int) -> float:
    """Share of the second language on a day (the first is 1): it goes evenly from that among the
    pairs to `DRIFTED_SHARE`, or stays where it is higher."""
    first = options.pair_languages[1]
    return max(first, first + (DRIFTED_SHARE - first) * day / days)


def traffic(options: SandboxOptions, days: int, seed: str) -> list[list[Scene]]:
    """Prompts about training intents for each day.

    Args:
        options: The sandbox of the profile.
        days: How many days the drift takes.
        seed: Other seeds give other prompts.
    """
    asked = []
    for day in range(1, days + 1):
        share = second_language_share(options, day, days)
        rng = Random(f"{options.seed}|{seed}|traffic|{day}")
        asked.append(
            list(
                itertools.islice(
                    scenes(options.seed, PAIR_SHARES, (1 - share, share), rng), PROMPTS_PER_DAY
                )
            )
        )
    return asked
