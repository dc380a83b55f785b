"""The rejected response of a pair lost its text after admission.

Against nothing any text wins: the pair teaches length and not quality.
"""

from tests.gallery.pairs import edited
from tests.gallery.worlds import World

GATE = "certificate: preferences/rejected_has_text"


def plant(world: World) -> World:
    return edited(world, rejected="  \n")
