"""In one of four verdicts on attacks the wrong box was ticked, because the page showed the two
boxes the other way round on telephones.

The classifier learns what it can; the rates that it ships with are measured on labels that it never
saw, and they say so.
"""

from dataclasses import replace
from random import Random

from tests.gallery.votes import opposite
from tests.gallery.worlds import World

GATE = "check: guardrail"
SHARE = 0.25


def plant(world: World) -> World:
    rng = Random(f"{world.seed}|boxes")
    boxes = tuple(
        opposite(event) if event.attack and rng.random() < SHARE else event
        for event in world.verdicts
    )
    return replace(world, verdicts=boxes, verdicts_since=())
