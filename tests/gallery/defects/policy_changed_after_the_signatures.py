"""The weights of the policy were exchanged after everybody had signed.

The signatures are in order, and they are about other bytes: everything behind a candidate is hashed
again before a signature counts.
"""

from dataclasses import replace

from tests.gallery.defects.weights_exchanged_in_the_store import exchange
from tests.gallery.rooms import Room, honest
from tests.gallery.worlds import World

GATE = "sign-off"


def plant(world: World) -> World:
    return replace(world, signing=sign)


def sign(room: Room) -> None:
    honest(room)
    exchange(room.chain)
