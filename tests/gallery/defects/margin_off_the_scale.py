"""A margin of 30 reward units, where the table of the rubric ends at 1 and that of Llama 2 at 3.

One such pair dominates the loss of its batch; a margin in percent that was read as units looks like
this.
"""

from tests.gallery.pairs import edited
from tests.gallery.worlds import World

GATE = "certificate: preferences/margin_in_range"


def plant(world: World) -> World:
    return edited(world, margin=30.0)
