"""The rubric promises brief answers, and somebody took the gate on length out of the profile.

Every remaining gate passes. A promise that no measurement can stop a release with is not held.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "check: clauses"


def plant(world: World) -> World:
    left = tuple(gate for gate in world.profile.gates if gate.metric != "tokens")
    return replace(world, profile=world.profile.model_copy(update={"gates": left}))
