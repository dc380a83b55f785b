"""The reward model: a Bradley-Terry model with margin on the reference policy's backbone, with
TRL's RewardTrainer."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from torch import Tensor
from trl import RewardConfig, RewardTrainer

from plumbline.objectives.losses import bradley_terry_loss, reward_centering, weighted_mean
from plumbline.objectives.masks import MaskReceipt
from plumbline.profile.models import Model
from plumbline.profile.training import Hardware, RewardRecipe
from plumbline.schema.kinds import PREFERENCE_DATA, REFERENCE_POLICY, VALIDATION_FILE
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.encoding import ChatEncoder, Pairs
from plumbline.training.models.tokenizers import load_tokenizer
from plumbline.training.models.weights import (
    lora_config,
    parameter_counts,
    reward_model_from_policy,
    save_model,
)
from plumbline.training.trainer.facts import TrainingFacts, shared_facts
from plumbline.training.trainer.pair_weights import (
    COLUMN,
    collate_weights,
    keep_weights,
    relative_weights,
)
from plumbline.training.trainer.pairs import load_splits, scored_pairs
from plumbline.training.trainer.receipts import reward_receipt, validation_receipt, write_receipt
from plumbline.training.trainer.runs import train, trainer_arguments
from plumbline.training.trainer.validation import rewards, share_above

SUPERVISION = "the last token of the response, at which the reward is read"


class RewardFacts(TrainingFacts):
    """What a reward job states: its objective, its backbone, and the validation metrics at the
    end."""

    margin_scale: float
    centering: float
    label_smoothing: float
    weighted: bool
    backbone: str
    """Digest of the weights of the reference policy below the head."""
    validation: dict[str, float]


def train_reward_model(
    recipe: RewardRecipe,
    model: Model,
    hardware: Hardware,
    inputs: Mapping[str, Path],
    workspace: Workspace,
) -> RewardFacts:
    """Train the reward model into the output folder and return the facts.

    Raises:
        MaskBreach: If the mask receipt refuses.
        TrainingError: If the backbone is not the reference policy's, TRL holds other rows than it
            was given, or the loss stops being finite.
    """
    source = inputs[REFERENCE_POLICY] / "model"
    encoder = ChatEncoder(load_tokenizer(source), model.max_length)
    splits = load_splits(inputs[PREFERENCE_DATA], encoder, workspace.log)
    arguments, lora = reward_arguments(recipe, model, hardware, workspace.checkpoints)
    scorer, backbone = reward_model_from_policy(source, hardware, recipe.seed)
    trainer = _trainer(
        recipe,
        splits["train"],
        model=scorer,
        args=arguments,
        processing_class=encoder.tokenizer,
        peft_config=lora,
    )
    receipt = MaskReceipt(
        supervision=SUPERVISION,
        splits={
            "train": reward_receipt(trainer, splits["train"], encoder),
            "validation": validation_receipt(splits["validation"], encoder, reward=True),
        },
    )
    write_receipt(receipt, workspace.folder, workspace.output)
    parameters = parameter_counts(trainer.model)
    run = train(trainer, workspace)
    held_back = splits["validation"]
    chosen, rejected = _pair_rewards(trainer.model, held_back)
    metrics = reward_metrics(chosen, rejected, held_back, recipe)
    workspace.write_lines(VALIDATION_FILE, scored_pairs(held_back, chosen, rejected))
    workspace.report_validation(run.steps, run.steps, metrics)
    saved = save_model(trainer.model, encoder.tokenizer, workspace.output / "model")
    return RewardFacts(
        **shared_facts(saved, run, receipt, splits),
        seed=recipe.seed,
        loss="bradley_terry",
        parameters=parameters,
        margin_scale=recipe.margin_scale,
        centering=recipe.centering,
        label_smoothing=recipe.label_smoothing,
        weighted=relative_weights(splits["train"].rows) is not None,
        backbone=backbone,
        validation=metrics,
    )


def reward_arguments(
    recipe: RewardRecipe, model: Model, hardware: Hardware, folder: Path
) -> tuple[Any, Any]:
    """TRL's arguments and the adapter's configuration (None without one); no model is loaded."""
    arguments = RewardConfig(
        **trainer_arguments(recipe.optimizer, hardware, recipe.seed, folder),
        max_length=None,  # longer pairs were dropped, and counted, before
        center_rewards_coefficient=recipe.centering or None,
    )
    return arguments, lora_config(model, scalar_head=True)


def reward_metrics(
    chosen: Tensor, rejected: Tensor, pairs: Pairs, recipe: RewardRecipe
) -> dict[str, float]:
    """Validation metrics of a reward model: means over the pairs; in `accuracy` a tie counts half,
    and the loss counts each pair with its weight.

    Args:
        chosen: Rewards of the chosen responses, shape (b,).
        rejected: Rewards of the rejected responses, shape (b,).
        pairs: The pairs, in the same order.
        recipe: Says by how much a margin counts, and how many labels are taken to be wrong.
    """
    margin = torch.tensor([row.margin * recipe.margin_scale for row in pairs.rows])
    weights = torch.tensor([row.weight for row in pairs.rows])
    losses = bradley_terry_loss(chosen, rejected, margin, label_smoothing=recipe.label_smoothing)
    return {
        "loss": float(weighted_mean(losses, weights)),
        "centering": float(reward_centering(chosen, rejected).mean()),
        "accuracy": share_above(chosen, rejected),
        "margin": float((chosen - rejected).mean()),
    }


def _pair_rewards(model: Any, pairs: Pairs) -> tuple[Tensor, Tensor]:
    """Rewards of the chosen and of the rejected responses, each of shape (b,)."""
    sequences = [
        *(pair.chosen.ids for pair in pairs.ids),
        *(pair.rejected.ids for pair in pairs.ids),
    ]
    scores = rewards(model, sequences)
    return scores[: len(pairs.ids)], scores[len(pairs.ids) :]


def _trainer(recipe: RewardRecipe, pairs: Pairs, **named: Any) -> Any:
    """A RewardTrainer that holds our ids of all pairs."""
    columns: dict[str, Sequence[Any]] = {
        "chosen_ids": [pair.chosen.ids for pair in pairs.ids],
        "rejected_ids": [pair.rejected.ids for pair in pairs.ids],
    }
    if recipe.margin_scale:  # RewardTrainer uses a column of this name without being asked
        columns["margin"] = [row.margin * recipe.margin_scale for row in pairs.rows]
    weights = relative_weights(pairs.rows)
    # TRL's own loss trains unless the data or the recipe ask for what it does not have.
    if weights is None and not recipe.label_smoothing:
        return RewardTrainer(train_dataset=Dataset.from_dict(columns), **named)
    columns[COLUMN] = weights or [1.0] * len(pairs.rows)
    return WeightedRewardTrainer(recipe, train_dataset=Dataset.from_dict(columns), **named)


class WeightedRewardTrainer(RewardTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer, forward pass and metrics, with our loss, on batches that have a column of
    weights; the weight multiplies ranking loss and centering of its pair."""

    def __init__(self, recipe: RewardRecipe, **named: Any) -> None:
        super().__init__(**named)
        self._recipe = recipe
        collate_weights(self)

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        keep_weights(self)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss of a batch."""
        weight = inputs.pop(COLUMN)  # (b,)
        _, outputs = super().compute_loss(
            model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
        )
        # (2b, 1) logits: the chosen responses first, then the rejected ones.
        chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
        margin = inputs["margin"] if "margin" in inputs else chosen.new_zeros(len(chosen))
        losses = bradley_terry_loss(
            chosen, rejected, margin, label_smoothing=self._recipe.label_smoothing
        )
        centering = self.args.center_rewards_coefficient
        if centering is not None:
            losses = losses + centering * reward_centering(chosen, rejected)
        loss = (weight * losses).mean()
        return (loss, outputs) if return_outputs else loss
