"""The vault was filled without the Spanish harmful prompts, so that nothing was measured there.

A gate without evidence is an error and not a pass.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: harm-es"


def plant(world: World) -> World:
    return replace(
        world,
        vault=tuple(
            prompt for prompt in world.vault if not prompt.context.slice.startswith("harm-es")
        ),
    )
