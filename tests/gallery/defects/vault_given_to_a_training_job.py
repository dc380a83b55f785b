"""A training job is handed the eval vault as a further input.

The inputs of each kind of job are fixed: a job specification with the vault among the inputs of a
policy is invalid, whoever writes it.
"""

from dataclasses import replace

from tests.gallery.training_gates import SHA
from tests.gallery.worlds import World

GATE = "job spec"


def plant(world: World) -> World:
    return replace(world, extra_inputs=(("eval_vault", SHA),))
