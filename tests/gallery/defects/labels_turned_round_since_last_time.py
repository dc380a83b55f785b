"""A tenth of the labels of the last version have turned round, under the same rubric.

Each judgment is in order; together they say that the annotators were told something new and nobody
made a new version of the rubric.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "check: feedback-drift"


def plant(world: World) -> World:
    turned = tuple(
        (
            pair.model_copy(update={"chosen": pair.rejected, "rejected": pair.chosen})
            if place % 10 == 0
            else pair
        )
        for place, pair in enumerate(world.previous)
    )
    return replace(world, previous=turned)
