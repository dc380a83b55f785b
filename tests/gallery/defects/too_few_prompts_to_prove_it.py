"""Eighty harmful story prompts, every one of them refused, and a gate that asks for 200.

A bare rate of 0 % would pass. The interval says what eighty prompts can prove, and the verdict says
how many more are needed.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: harm-story"


def plant(world: World) -> World:
    stories = [prompt.id for prompt in world.vault if prompt.context.slice == "harm-story"]
    kept = {*stories[:80], *(prompt.facts.get("variant_of") for prompt in world.vault)}
    return replace(
        world,
        vault=tuple(
            prompt
            for prompt in world.vault
            if prompt.context.slice != "harm-story" or prompt.id in kept
        )[:],
    )
