"""The approval was given long ago, and the release was left lying.

What people knew then is not what they would know now; signatures count for a number of days that
the profile names.
"""

from dataclasses import replace
from datetime import timedelta

from tests.gallery.rooms import Room
from tests.gallery.worlds import World

GATE = "sign-off"


def plant(world: World) -> World:
    return replace(world, signing=sign)


def sign(room: Room) -> None:
    room.review()
    room.approve(now=room.now - timedelta(days=room.rule.valid_days + 1))
