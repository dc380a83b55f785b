"""A rejecting review was deleted from the store, and the accepting ones were left.

The ledger knows every signature, so a missing envelope shows.
"""

from dataclasses import replace

from tests.gallery.defects.rejection_outvoted import sign as sign_with_a_rejection
from tests.gallery.rooms import Room
from tests.gallery.worlds import World

GATE = "sign-off"


def plant(world: World) -> World:
    return replace(world, signing=sign)


def sign(room: Room) -> None:
    sign_with_a_rejection(room)
    rejection = room.ledger.entries("review")[-1]
    (
        room.chain.store.root / "signatures" / room.decision[7:] / f"{rejection.key[7:]}.json"
    ).unlink()
