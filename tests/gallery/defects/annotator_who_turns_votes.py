"""One of six annotators ticks the opposite of what they see in 45 of 100 judgments.

With three judgments of each pair the majority is still right, so that the pairs look well; only the
comparison with the others shows it. Whose judgments are flagged is set aside until a person
decides.
"""

from dataclasses import replace
from random import Random

from tests.gallery.votes import turned
from tests.gallery.worlds import World

GATE = "flag: annotator agreement"
ANNOTATOR, SHARE = "rater-03", 0.45


def plant(world: World) -> World:
    rng = Random(f"{world.seed}|turned")
    return replace(
        world,
        events=tuple(
            turned(event) if event.annotator == ANNOTATOR and rng.random() < SHARE else event
            for event in world.events
        ),
    )
