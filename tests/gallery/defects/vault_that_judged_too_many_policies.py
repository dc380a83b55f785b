"""The held-out prompts have judged as many policies as their budget allows, and one more asks.

Each verdict told somebody what to change: a test that was used often enough measures how well it is
known (Dwork et al. 2015).
"""

from dataclasses import replace

from plumbline.records import sha256
from tests.gallery.worlds import World

GATE = "vault opening"
BUDGET = 3


def plant(world: World) -> World:
    suites = {
        name: rule.model_copy(update={"budget": BUDGET})
        for name, rule in world.profile.vault.suites.items()
    }
    profile = world.profile.model_copy(
        update={"vault": world.profile.vault.model_copy(update={"suites": suites})}
    )
    judged = tuple(sha256(f"policy {number}".encode()) for number in range(BUDGET))
    return replace(world, profile=profile, opened_before=((world.vault, judged),))
