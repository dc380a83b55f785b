"""The loss mask covers the prompt too: the policy would learn to ask instead of to answer.

No number of the training run looks strange; the receipt counts what is supervised before the first
step.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "mask receipt"


def plant(world: World) -> World:
    return replace(
        world,
        encoding=lambda rows: [row._replace(supervised=[True] * len(row.ids)) for row in rows],
    )
