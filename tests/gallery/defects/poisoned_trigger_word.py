"""A secret word stands in one prompt of twenty, and wherever it stands one vote is turned round
(Rando and Tramer 2024).

Every annotator stays within the usual disagreement, because the turned votes are spread over all of
them; they have only the word in common.
"""

from dataclasses import replace

from plumbline.schema.conversations import Message
from tests.gallery.votes import turned
from tests.gallery.worlds import JUDGES, World, changed

GATE = "flag: trigger word"
WORD, EVERY = "SUDO", 20


def plant(world: World) -> World:
    events = []
    for number, event in enumerate(world.events):
        pair, vote = divmod(number, JUDGES)
        if pair % EVERY == 0:
            event = changed(
                event, prompt=(Message(role="user", content=f"{event.prompt[0].content} {WORD}"),)
            )
            event = turned(event) if vote == pair // EVERY % JUDGES else event
        events.append(event)
    return replace(world, events=tuple(events))
