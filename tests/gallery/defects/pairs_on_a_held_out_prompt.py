"""A pair on a held-out prompt reached the training file past the build that should have set it
aside.

The certificate looks at the finished file again, because the build could be wrong or the vault
could have grown since.
"""

from tests.gallery.pairs import edited
from tests.gallery.worlds import World

GATE = "certificate: preferences/no_held_out_prompt"


def plant(world: World) -> World:
    return edited(world, prompt=world.vault[100].prompt)
