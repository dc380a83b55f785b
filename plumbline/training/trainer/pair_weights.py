"""Pairs that count for more or less than one vote, and labels that may be wrong, in TRL's trainers.

TRL's trainers give every pair the same weight, and its DPO ignores `label_smoothing` with the
sigmoid loss. In the weighted trainers of `plumbline.training.methods` the losses of
`plumbline.objectives.losses` take their place, only where a recipe or the data ask for it: with
equal weights and no label noise TRL's own loss trains. Here is what these trainers share.
"""

from collections.abc import Sequence
from typing import Any

import torch

from plumbline.schema.preferences import PreferencePair

COLUMN = "weight"


def relative_weights(rows: Sequence[PreferencePair]) -> list[float] | None:
    """Weight of each pair in the loss, as a multiple of the mean weight; None if all are equal.

    With these, the mean over the pairs is sum(weight * loss) / sum(weight), whatever the batches
    are: a pair counts the same in every company.
    """
    weights = [row.weight for row in rows]
    if min(weights) == max(weights):
        return None
    mean = sum(weights) / len(weights)
    return [weight / mean for weight in weights]


def collate_weights(trainer: Any) -> None:
    """Add the weights to the batches of a trainer."""
    collate = trainer.data_collator

    def with_weights(examples: list[dict[str, Any]]) -> dict[str, Any]:
        weights = torch.tensor([example[COLUMN] for example in examples], dtype=torch.float32)
        return {**collate(examples), COLUMN: weights}

    trainer.data_collator = with_weights


def keep_weights(trainer: Any) -> None:
    """Keep the column of weights among those that a trainer does not drop from its data."""
    if COLUMN not in trainer._signature_columns:
        trainer._signature_columns.append(COLUMN)
