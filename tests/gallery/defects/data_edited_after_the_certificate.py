"""One label was turned round in the training file after the file had passed its checks.

The certificate names the digest of the bytes that were examined, so the launcher finds none for
these.
"""

from dataclasses import replace

from tests.gallery.data_gates import training_pairs
from tests.gallery.worlds import World

GATE = "launch: certificate"


def plant(world: World) -> World:
    pairs = dict(training_pairs(world))
    first, *rest = pairs["train"]
    pairs["train"] = (
        first.model_copy(update={"chosen": first.rejected, "rejected": first.chosen}),
        *rest,
    )
    return replace(world, handed_over=pairs)
