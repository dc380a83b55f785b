"""The person who trained the policy approves its release, with a valid key and the role of an
approver.

Nobody signs for an own model. The command refuses to sign; here the envelope was written past it.
"""

from dataclasses import replace

from plumbline.release.signing.statements import Approval
from plumbline.release.signing.stored import record_signature
from tests.gallery.rooms import TRAINER, Room
from tests.gallery.worlds import World

GATE = "sign-off"


def plant(world: World) -> World:
    return replace(world, signing=sign)


def sign(room: Room) -> None:
    room.review()
    record_signature(
        room.chain.store.root, room.ledger, Approval(**room.claims(TRAINER)), room.key(TRAINER)
    )
