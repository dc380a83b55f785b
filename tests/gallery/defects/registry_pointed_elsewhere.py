"""Somebody moved the alias `champion` of the registry to a policy that nobody released.

The ledger is the record: on the next start the registry is set back, and what it pointed at is
entered as drift.
"""

from dataclasses import replace

from plumbline.records import sha256
from tests.gallery.worlds import World

GATE = "registry"


def plant(world: World) -> World:
    return replace(world, pointing=sha256(b"a policy that nobody released"))
