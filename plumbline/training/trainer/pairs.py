"""The pairs of a preference data tree, encoded for a trainer, and the scores of those held back."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from torch import Tensor

from plumbline.errors import TrainingError
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.jsonl import read_records
from plumbline.training.models.encoding import ChatEncoder, Pairs, encode_pairs


def load_splits(data: Path, encoder: ChatEncoder, log: Callable[[str], None]) -> dict[str, Pairs]:
    """The pairs of the train and the validation split; the calibration split trains nothing.

    Raises:
        TrainingError: If no pair of a split can be used.
    """
    return {split: _load_split(data, split, encoder, log) for split in ("train", "validation")}


def _load_split(data: Path, split: str, encoder: ChatEncoder, log: Callable[[str], None]) -> Pairs:
    pairs = encode_pairs(encoder, list(read_records(data / f"{split}.jsonl", PreferencePair)))
    if not pairs.rows:
        raise TrainingError(
            f"none of the {pairs.rows_in} pairs of the {split} split can be used: {pairs.dropped}"
        )
    log(f"{len(pairs.rows)} of {pairs.rows_in} pairs in the {split} split")
    return pairs


def scored_pairs(pairs: Pairs, chosen: Tensor, rejected: Tensor) -> list[dict[str, Any]]:
    """Lines of validation.jsonl: each pair with the scores of its responses, of shape (b,)."""
    return [
        {"id": row.id, "slice": row.context.slice, "chosen": good, "rejected": bad}
        for row, good, bad in zip(pairs.rows, chosen.tolist(), rejected.tolist(), strict=True)
    ]
