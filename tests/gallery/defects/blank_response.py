"""A collecting page saved a response of blanks, and the annotator preferred the other one.

Any text wins against nothing, so the pair would teach length.
"""

from dataclasses import replace

from plumbline.schema.conversations import Response
from tests.gallery.worlds import SOURCE, World, changed, swap

GATE = "admission: empty response"


def plant(world: World) -> World:
    event = world.events[11]
    blank = changed(event, responses=(event.responses[0], Response(text=" \n", source=SOURCE)))
    return replace(world, events=swap(world.events, 11, blank))
