"""A sentence of the rubric was changed and its version was not.

Labels cite `name@version`; two texts under one label would make old and new judgments look alike.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "rubric version"


def plant(world: World) -> World:
    return replace(
        world,
        edited_rubric=world.rubric.model_copy(
            update={"forbidden": ("Refusing.", *world.rubric.forbidden)}
        ),
    )
