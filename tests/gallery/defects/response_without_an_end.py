"""Responses were cut to a length and lost the token that ends them: the policy would never learn to
stop.

The receipt wants a supervised end in every sequence.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "mask receipt"


def plant(world: World) -> World:
    return replace(
        world,
        encoding=lambda rows: [
            row._replace(ids=row.ids[:-1], supervised=row.supervised[:-1]) for row in rows
        ],
    )
