"""Four of ten demonstrations are copies of one another, because an export was imported twice.

The policy recites instead of answering.
"""

from dataclasses import replace

from plumbline.schema.identifiers import content_id
from tests.gallery.worlds import World

GATE = "certificate: demonstrations/few_duplicates"


def plant(world: World) -> World:
    rows = world.demonstrations
    copies = tuple(
        one.model_copy(update={"id": content_id(["copy", one.id])})
        for one in rows[: len(rows) // 4]
    )
    return replace(world, demonstrations=(*rows, *copies))
