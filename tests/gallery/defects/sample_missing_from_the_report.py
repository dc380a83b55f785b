"""The sampler crashed on one prompt and the rest was evaluated as if it were all.

A report is refused unless every prompt has one sample of each policy: prompts that crash a sampler
are not a random part of the vault.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "eval report"


def plant(world: World) -> World:
    return replace(world, sampling=lambda samples: samples[:-1])
