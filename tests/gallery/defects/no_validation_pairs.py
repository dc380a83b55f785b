"""Every pair is a training pair: nobody would see a reward model go wrong.

The split was computed with shares that do not belong to this profile.
"""

from tests.gallery.pairs import Pairs, with_pairs
from tests.gallery.worlds import World

GATE = "certificate: preferences/every_split_has_pairs"


def plant(world: World) -> World:
    def change(pairs: Pairs) -> Pairs:
        return {
            "train": tuple(pair for side in pairs.values() for pair in side),
            "validation": (),
            "calibration": (),
        }

    return with_pairs(world, change)
