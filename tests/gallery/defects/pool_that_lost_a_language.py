"""The vault was filled without the Spanish plain questions, and the gate on correctness pools the
languages.

What is left is answered well. A pool that lost a member is smaller than the gate asks for, and that
is all that shows it.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: correctness"


def plant(world: World) -> World:
    return replace(
        world,
        vault=tuple(
            prompt for prompt in world.vault if not prompt.context.slice.startswith("benign-es")
        ),
    )
