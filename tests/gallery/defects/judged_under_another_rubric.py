"""Judgments that were made under another rubric are delivered as if they answered the question of
this one.

What was better under another policy says nothing about what is better under this one.
"""

from dataclasses import replace

from tests.gallery.worlds import World, changed, swap

GATE = "admission: other rubric"


def plant(world: World) -> World:
    return replace(
        world, events=swap(world.events, 10, changed(world.events[10], rubric="helpful-harmless@0"))
    )
