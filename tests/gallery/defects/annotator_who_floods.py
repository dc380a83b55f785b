"""One annotator gives more than half of a batch, so that the policy would learn one person's taste.

The judgments are honest and agree with those of the others: nothing about a single one is wrong.
"""

from dataclasses import replace

from tests.gallery.worlds import World, feedback

GATE = "flag: annotator flooding"
ANNOTATOR = "rater-01"


def plant(world: World) -> World:
    own = [event for event in feedback(world.seed, 2000, "flood") if event.annotator == ANNOTATOR]
    return replace(world, events=(*world.events, *own))
