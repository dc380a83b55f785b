"""One comparison stands twice, the second time with chosen and rejected exchanged and under an id
of its own.

The two rows pull the loss in opposite directions.
"""

from tests.gallery.pairs import Pairs, with_pairs
from tests.gallery.worlds import World

GATE = "certificate: preferences/no_duplicate_pair"


def plant(world: World) -> World:
    def change(pairs: Pairs) -> Pairs:
        pair = pairs["train"][0]
        opposite = pair.model_copy(
            update={"id": "f" * 40, "chosen": pair.rejected, "rejected": pair.chosen}
        )
        return pairs | {"train": (*pairs["train"], opposite)}

    return with_pairs(world, change)
