"""A held-out prompt with its best answer stands among the demonstrations.

The reference policy, and every policy that starts from it, would know the answer by heart.
"""

from dataclasses import replace

from tests.gallery.worlds import World, swap

GATE = "certificate: demonstrations/no_held_out_prompt"


def plant(world: World) -> World:
    one = world.demonstrations[6].model_copy(update={"prompt": world.vault[3].prompt})
    return replace(world, demonstrations=swap(world.demonstrations, 6, one))
