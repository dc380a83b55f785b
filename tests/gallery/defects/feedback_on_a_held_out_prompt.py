"""A prompt of the eval vault was put before annotators, in other letters and with other blanks.

The build sets the votes on it aside: a policy that trained on its own examination passes it.
"""

from dataclasses import replace

from plumbline.schema.conversations import Message
from tests.gallery.worlds import JUDGES, World, changed

GATE = "build: held-out prompt"


def plant(world: World) -> World:
    prompt = (Message(role="user", content=f"  {world.vault[40].prompt[0].content.upper()} "),)
    return replace(
        world,
        events=(
            *(changed(event, prompt=prompt) for event in world.events[:JUDGES]),
            *world.events[JUDGES:],
        ),
    )
