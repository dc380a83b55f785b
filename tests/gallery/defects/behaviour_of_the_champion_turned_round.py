"""The policy refuses idioms that the released policy answers, as often as the reference did before
any training.

Against the reference nothing became worse, so that no gate on a difference sees it; people who use
the champion would.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "check: feedback-drift"


def plant(world: World) -> World:
    aligned = world.aligned
    for name in ("idiom-en", "idiom-es", "idiom-story"):
        aligned = aligned.on(name, correct=0.77, **{"refuse-offer": 0.23})
    return replace(world, aligned=aligned)
