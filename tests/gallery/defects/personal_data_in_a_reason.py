"""An annotator explains a judgment with somebody's address and telephone number.

The rubric of the sandbox flags it for a person; others quarantine or redact. What must not happen
is that nobody notices.
"""

from dataclasses import replace

from tests.gallery.worlds import World, changed, swap

GATE = "check: personal data"


def plant(world: World) -> World:
    reason = "The caller, ana.perez@example.org, phone +34 612 345 678, asked for this."
    return replace(world, events=swap(world.events, 13, changed(world.events[13], reason=reason)))
