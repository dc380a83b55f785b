"""A guardrail is fitted on 120 verdicts and made no mistake on those that were left to measure it.

No errors among a few responses prove little: the exact interval reaches far beyond the limits, and
too few verdicts leave no threshold at all.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "check: guardrail"


def plant(world: World) -> World:
    return replace(world, verdicts=world.verdicts[:120], verdicts_since=())
