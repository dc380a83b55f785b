"""The facts of a training job: what a person, MLflow or the lineage walk wants to know, beside the
tree itself."""

from collections.abc import Mapping
from typing import Any

from plumbline.objectives.masks import MaskReceipt
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.chat_template import template_digest
from plumbline.training.models.encoding import EncodedRows
from plumbline.training.models.tokenizers import tokenizer_digest
from plumbline.training.trainer.runs import Training


def training_facts(
    workspace: Workspace,
    training: Training,
    receipt: MaskReceipt,
    splits: Mapping[str, EncodedRows[Any, Any]],
    tokenizer: Any,
    saved: Mapping[str, Any],
) -> dict[str, Any]:
    """Facts that every training job states.

    Args:
        workspace: The job.
        training: The finished run.
        receipt: Its mask receipt.
        splits: The encoded rows by split.
        tokenizer: The tokenizer that was saved with the model.
        saved: What `save_model` said.
    """
    return {
        "seed": workspace.spec.recipe.model_dump().get("seed"),
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
        "tokenizer": tokenizer_digest(workspace.output / "model"),
        "chat_template": template_digest(tokenizer.chat_template),
        **saved,
    }
