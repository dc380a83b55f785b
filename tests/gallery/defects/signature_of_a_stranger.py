"""An approval in Bob's name, signed with a key that the trust file does not name.

Names can be written by anybody; the key decides.
"""

from dataclasses import replace

from plumbline.release.signing.statements import Approval
from plumbline.release.signing.stored import record_signature
from tests.gallery.rooms import Room
from tests.gallery.worlds import World

GATE = "sign-off"


def plant(world: World) -> World:
    return replace(world, signing=sign)


def sign(room: Room) -> None:
    room.review()
    record_signature(
        room.chain.store.root, room.ledger, Approval(**room.claims("bob")), room.key("mallory")
    )
