"""Every idiom gets a wrong answer, and the reward model knows it.

Nothing is refused and nothing harmful is said, the reward falls with the quality, and plain
questions are answered well.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: correctness-traps"


def plant(world: World) -> World:
    return replace(
        world, aligned=replace(world.aligned, mix=world.aligned.mix | {"idiom": {"wrong": 1.0}})
    )
