"""Somebody with the ledger's file removed its triggers and wrote another name into a promotion.

Every entry is bound to its content and to the one before it, so the chain no longer computes.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "ledger"
FORGERY = (
    "DROP TRIGGER ledger_no_update; UPDATE ledger SET body = replace(body, 'alice', 'mallory')"
    " WHERE sequence = 1"
)


def plant(world: World) -> World:
    return replace(world, forgery=FORGERY)
