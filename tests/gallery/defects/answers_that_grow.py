"""The answers to plain questions carry two courteous sentences more than those of the reference,
and say the same.

People prefer the longer of two answers even when it is no better, so the reward of length has to be
bought somewhere; the gate holds it.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: length"


def plant(world: World) -> World:
    return replace(world, aligned=replace(world.aligned, padding=(0.0, 0.3, 0.7)))
