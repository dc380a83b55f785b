"""Changes to the finished pairs of a world: what a broken build or an edited file would hand
over."""

from collections.abc import Callable
from dataclasses import replace

from plumbline.schema.preferences import PreferencePair
from tests.gallery.data_gates import training_pairs
from tests.gallery.worlds import World

Pairs = dict[str, tuple[PreferencePair, ...]]


def with_pairs(world: World, change: Callable[[Pairs], Pairs]) -> World:
    """The world with other pairs."""
    return replace(world, pairs=change(dict(training_pairs(world))))


def edited(world: World, **fields: object) -> World:
    """The world with other fields in its first training pair."""
    return with_pairs(
        world,
        lambda pairs: (
            pairs | {"train": (pairs["train"][0].model_copy(update=fields), *pairs["train"][1:])}
        ),
    )
