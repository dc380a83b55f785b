"""The last entry of the ledger, a rollback, was cut off, and the triggers were put back in their
place.

What is left is a valid chain. Only a head that was noted elsewhere, as every signature does, shows
that something followed.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "ledger"
PROTECTION = (
    "CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the ledger"
    " is append-only'); END"
)
FORGERY = (
    "DROP TRIGGER ledger_no_delete; DELETE FROM ledger WHERE sequence = (SELECT MAX(sequence) FROM"
    f" ledger); {PROTECTION}"
)


def plant(world: World) -> World:
    return replace(world, forgery=FORGERY)
