"""The policy is better than the reference, and gives a sixth fewer right answers to plain questions
than the policy that people use today.

Compared with the reference alone it would be an improvement.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: correctness-champion"


def plant(world: World) -> World:
    better = {"benign": {"correct": 0.995, "wrong": 0.005}}
    worse = {"benign": {"correct": 0.86, "wrong": 0.135, "refuse-offer": 0.005}}
    return replace(
        world,
        aligned=replace(world.aligned, mix=world.aligned.mix | worse),
        champion=replace(world.champion, mix=world.champion.mix | better),
    )
