"""An event cites a version of the consent text that the rubric does not admit.

Nobody can say what the person agreed to, so the event stays out until the rubric names that
version.
"""

from dataclasses import replace

from plumbline.schema.feedback import Consent
from tests.gallery.worlds import World, changed, swap

GATE = "admission: consent version"


def plant(world: World) -> World:
    event = changed(world.events[8], consent=Consent(scope="training", version="draft-of-legal"))
    return replace(world, events=swap(world.events, 8, event))
