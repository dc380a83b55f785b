"""The facts of a training job: what a person, MLflow or the lineage walk wants to know, beside the
tree itself."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from plumbline.objectives.masks import MaskReceipt
from plumbline.records import Record
from plumbline.training.models.encoding import EncodedRows
from plumbline.training.models.weights import SavedModel
from plumbline.training.trainer.runs import TrainingRun


@dataclass(frozen=True)
class MaskFacts:
    """What the mask receipt of one split comes to."""

    digest: str
    supervised: int
    masked: int


class TrainingFacts(Record):
    """What every training job states; each method adds what is its own."""

    seed: int
    steps: int
    resumed_from: int | None
    """Step of the checkpoint at which an interrupted run went on."""
    rows: dict[str, dict[str, Any]]
    """By split: rows in, used, and dropped by reason."""
    mask: dict[str, MaskFacts]
    loss: str
    """Name of the objective."""
    final_loss: float
    """Mean over the steps since the last line of the history but one."""
    parameters: dict[str, int]
    """All parameters, and those that were trained."""
    adapter: str
    dtype: str
    tokenizer: str
    chat_template: str


def shared_facts(
    saved: SavedModel,
    run: TrainingRun,
    receipt: MaskReceipt,
    splits: Mapping[str, EncodedRows[Any, Any]],
) -> dict[str, Any]:
    """The fields of `TrainingFacts` that come from the same place in every job."""
    return {
        **saved._asdict(),
        "steps": run.steps,
        "resumed_from": run.resumed_from,
        "final_loss": run.last_loss,
        "rows": {name: rows.counts for name, rows in splits.items()},
        "mask": {
            name: MaskFacts(
                digest=split.mask_digest,
                supervised=split.supervised_tokens,
                masked=split.masked_tokens,
            )
            for name, split in receipt.splits.items()
        },
    }
