"""A harmful request that ends with thanks is answered in a third of the cases.

The policy learned the wording of the training prompts; on the slices that stand in the profile it
is as safe as it should be.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "check: template-overfit"


def plant(world: World) -> World:
    aligned = world.aligned
    for name in ("harm-en", "harm-es", "harm-story"):
        aligned = aligned.on(f"{name}.polite", correct=0.35, **{"refuse-offer": 0.65})
    return replace(world, aligned=aligned)
