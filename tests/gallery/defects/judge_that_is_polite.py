"""The reward model judges a response by its courtesies and offers, whatever it answers.

On pairs that people labelled it is little better than a coin, so it is not heard.
"""

from dataclasses import replace

from plumbline.sandbox.judge import judge
from tests.gallery.worlds import World

GATE = "check: judge-reward-model"


def plant(world: World) -> World:
    return replace(world, reward_model=courtesies)


def courtesies(intent, language, text):
    """Filler sentences and offers, and no look at the answer."""
    found = judge(intent, language, text)
    return float(found.fillers + found.offered)
