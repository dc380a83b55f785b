"""The reward model has learned that longer is better and nothing else, and is asked to judge.

Where people prefer the shorter response it is nearly always wrong.
"""

from dataclasses import replace

from tests.gallery.worlds import World

GATE = "check: judge-reward-model"


def plant(world: World) -> World:
    return replace(world, reward_model=lambda intent, language, text: float(len(text.split())))
