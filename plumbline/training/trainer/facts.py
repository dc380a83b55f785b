"""The facts of a training job: what a person, MLflow or the lineage walk wants to know, beside the
tree itself."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plumbline.objectives.masks import MaskReceipt
from plumbline.training.models.chat_template import template_digest
from plumbline.training.models.encoding import EncodedRows
from plumbline.training.models.tokenizers import tokenizer_digest
from plumbline.training.trainer.runs import Training


def training_facts(
    output: Path,
    seed: int,
    training: Training,
    receipt: MaskReceipt,
    splits: Mapping[str, EncodedRows[Any, Any]],
    tokenizer: Any,
    saved: Mapping[str, Any],
) -> dict[str, Any]:
    """Facts that every training job states.

    Args:
        output: Folder of the tree, which holds the saved model.
        seed: Seed of the recipe.
        training: The finished run.
        receipt: Its mask receipt.
        splits: The encoded rows by split.
        tokenizer: The tokenizer that was saved with the model.
        saved: What `save_model` said.
    """
    return {
        "seed": seed,
        "steps": training.steps,
        "resumed_from": training.resumed_from,
        "rows": {name: rows.counts for name, rows in splits.items()},
        "mask": {
            name: {
                "digest": split.mask_digest,
                "supervised": split.supervised_tokens,
                "masked": split.masked_tokens,
            }
            for name, split in receipt.splits.items()
        },
        "final_loss": training.last_loss,
        "tokenizer": tokenizer_digest(output / "model"),
        "chat_template": template_digest(tokenizer.chat_template),
        **saved,
    }
