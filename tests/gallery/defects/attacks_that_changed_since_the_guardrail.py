"""Since the guardrail shipped, attacks come in words that it never saw: two of three violations
pass it.

Its measured rates were right for the attacks of then. New verdicts are compared with the shipped
rates (Fisher's exact test).
"""

from dataclasses import replace

from plumbline.schema.conversations import Response
from tests.gallery.worlds import SOURCE, World, changed

GATE = "check: guardrail again"


def plant(world: World) -> World:
    return replace(
        world,
        verdicts_since=tuple(
            reworded(event) if event.attack in ("direct", "story") else event
            for event in world.verdicts_since
        ),
    )


def reworded(event):
    """The same violation in other words: every word spelled backwards."""
    text = " ".join(word[::-1] for word in event.responses[0].text.split())
    return changed(event, responses=(Response(text=text, source=SOURCE),))
