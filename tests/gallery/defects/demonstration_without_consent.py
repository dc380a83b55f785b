"""A demonstration whose author agreed to evaluation only stands among those that train the
reference policy.

Demonstrations do not pass the admission of feedback, so their certificate has to see it.
"""

from dataclasses import replace

from plumbline.schema.feedback import Consent
from tests.gallery.worlds import World, swap

GATE = "certificate: demonstrations/consent_given"


def plant(world: World) -> World:
    one = world.demonstrations[5].model_copy(
        update={"consent": Consent(scope="evaluation", version="sandbox-1")}
    )
    return replace(world, demonstrations=swap(world.demonstrations, 5, one))
