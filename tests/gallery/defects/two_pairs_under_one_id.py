"""Two pairs share an id, so that whoever traces or withdraws one of them gets the other.

The loss does not notice.
"""

from tests.gallery.pairs import Pairs, with_pairs
from tests.gallery.worlds import World

GATE = "certificate: preferences/id_unique"


def plant(world: World) -> World:
    def change(pairs: Pairs) -> Pairs:
        first, second, *rest = pairs["train"]
        return pairs | {"train": (first, second.model_copy(update={"id": first.id}), *rest)}

    return with_pairs(world, change)
