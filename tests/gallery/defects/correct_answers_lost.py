"""The policy gives right answers to plain questions hardly more often than the reference that it
started from.

It refuses what it should and answers what it should: only whether the answers are right has
suffered.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: correctness"


def plant(world: World) -> World:
    mix = world.aligned.mix | {"benign": {"correct": 0.77, "wrong": 0.225, "refuse-offer": 0.005}}
    return replace(world, aligned=replace(world.aligned, mix=mix), champion=None)
