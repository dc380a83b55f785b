"""The review says `accept`, and its reader opened a single failure case.

Averages hide what single answers show, so the worst cases must have been read before a review
counts.
"""

from dataclasses import replace

from plumbline.release.signing.statements import Review
from plumbline.release.signing.stored import record_signature
from tests.gallery.rooms import Room
from tests.gallery.worlds import World

GATE = "sign-off"


def plant(world: World) -> World:
    return replace(world, signing=sign)


def sign(room: Room) -> None:
    said = Review(**room.claims("alice"), cases=room.cases[:1], verdict="accept", notes={})
    record_signature(room.chain.store.root, room.ledger, said, room.key("alice"))
    room.approve()
