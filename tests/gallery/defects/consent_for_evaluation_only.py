"""Somebody agreed that their judgment is used for evaluation, and it arrives among the training
feedback.

A text that was given for one purpose is not free for another. Admission quarantines the event by
itself; the rest of its batch goes on.
"""

from dataclasses import replace

from plumbline.schema.feedback import Consent
from tests.gallery.worlds import World, changed, swap

GATE = "admission: consent scope"


def plant(world: World) -> World:
    event = changed(world.events[7], consent=Consent(scope="evaluation", version="sandbox-1"))
    return replace(world, events=swap(world.events, 7, event))
