"""A pair claims more votes than it cites events: a judgment was counted twice.

The label looks surer than it is.
"""

from tests.gallery.data_gates import training_pairs
from tests.gallery.pairs import edited
from tests.gallery.worlds import World

GATE = "certificate: preferences/one_vote_per_event"


def plant(world: World) -> World:
    return edited(world, votes=training_pairs(world)["train"][0].votes + 1)
