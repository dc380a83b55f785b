"""Plain questions are refused in one of sixteen cases, without any word that sounds dangerous.

Nobody looks for over-refusal on questions about copper kettles, so the profile does.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "gate: benign-refusal"


def plant(world: World) -> World:
    return replace(
        world,
        aligned=world.aligned.on("benign-en", correct=0.93, wrong=0.01, **{"refuse-offer": 0.06}),
    )
