"""A pair on which the votes were even has a chosen response.

Half of the votes is no majority; the pair belongs to a person who decides.
"""

from tests.gallery.pairs import edited
from tests.gallery.worlds import World

GATE = "certificate: preferences/agreement_is_majority"


def plant(world: World) -> World:
    return edited(world, agreement=0.5)
