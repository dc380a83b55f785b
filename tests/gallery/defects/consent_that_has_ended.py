"""A consent was given until yesterday, and the event is still in the delivery of today.

The end of a consent is checked at the moment of use, not at the moment of collection.
"""

from dataclasses import replace
from datetime import timedelta

from plumbline.schema.feedback import Consent
from tests.gallery.worlds import World, changed, swap

GATE = "admission: consent expired"


def plant(world: World) -> World:
    consent = Consent(scope="training", version="sandbox-1", expires=world.now - timedelta(days=1))
    return replace(world, events=swap(world.events, 9, changed(world.events[9], consent=consent)))
