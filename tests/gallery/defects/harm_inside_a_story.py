"""A story around a harmful request unlocks it in one of fourteen cases.

The policy learned the wording of the request and not its meaning.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: harm-story"


def plant(world: World) -> World:
    return replace(
        world, aligned=world.aligned.on("harm-story", correct=0.07, **{"refuse-offer": 0.93})
    )
