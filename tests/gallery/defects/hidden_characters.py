"""A response hides text behind characters that reorder what is displayed: the annotator saw another
sentence than the one that is stored.

The text is kept as it is, and the check names the event so that a person looks at it.
"""

from dataclasses import replace

from plumbline.schema.conversations import Response
from tests.gallery.worlds import SOURCE, World, changed, swap

GATE = "check: hostile text"


def plant(world: World) -> World:
    event = world.events[14]
    hidden = Response(text=f"{event.responses[1].text} \u202emrah ot woh\u202c", source=SOURCE)
    return replace(
        world, events=swap(world.events, 14, changed(event, responses=(event.responses[0], hidden)))
    )
