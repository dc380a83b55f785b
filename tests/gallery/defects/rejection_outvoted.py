"""A reviewer read the failure cases and rejected the candidate; another one accepted it, and it was
approved.

A rejection is not outvoted: only the person who gave it lifts it.
"""

from dataclasses import replace

from tests.gallery.rooms import Room, honest
from tests.gallery.worlds import World

GATE = "sign-off"


def plant(world: World) -> World:
    return replace(world, signing=sign)


def sign(room: Room) -> None:
    room.trust = room.trust.with_key("erin", (room.keys / "mallory.pub").read_text(), ("reviewer",))
    honest(room)
    sign_as_erin(room)


def sign_as_erin(room: Room) -> None:
    room.review("mallory", "reject", "The third case is worse than before.")
