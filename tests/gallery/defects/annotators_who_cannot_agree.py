"""Every annotator ticks the other response in a fifth of the judgments, because the rubric does not
say what is better.

Nobody stands out, so nobody is flagged, and the majority makes a label of everything.
"""

from dataclasses import replace
from random import Random

from tests.gallery.votes import turned
from tests.gallery.worlds import World, version_before

GATE = "check: policy-ambiguity"
SHARE = 0.2


def plant(world: World) -> World:
    rng = Random(f"{world.seed}|ambiguous")
    unsure = replace(
        world,
        events=tuple(turned(event) if rng.random() < SHARE else event for event in world.events),
    )
    return replace(unsure, previous=version_before(unsure))
