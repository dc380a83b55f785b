"""A prompt stands in the training pairs and, with other responses, in the validation pairs.

The validation accuracy becomes a memory test, and the reward model looks better than it is.
"""

from tests.gallery.pairs import Pairs, with_pairs
from tests.gallery.worlds import World

GATE = "certificate: preferences/no_split_leakage"


def plant(world: World) -> World:
    def change(pairs: Pairs) -> Pairs:
        leaked = pairs["validation"][0].model_copy(update={"prompt": pairs["train"][0].prompt})
        return pairs | {"validation": (leaked, *pairs["validation"][1:])}

    return with_pairs(world, change)
