"""The reward model: a Bradley-Terry model with margin on the reference policy's backbone, with
TRL's RewardTrainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import RewardConfig, RewardTrainer

from plumbline.objectives.masks import MaskReceipt
from plumbline.profile.training import RewardRecipe
from plumbline.training.job.spec import JobSpec
from plumbline.training.job.workspace import Workspace, write_lines
from plumbline.training.models.encoding import ChatEncoder
from plumbline.training.models.tokenizers import load_tokenizer
from plumbline.training.models.weights import (
    lora_config,
    parameter_counts,
    reward_model_from_policy,
    save_model,
)
from plumbline.training.trainer.facts import training_facts
from plumbline.training.trainer.pair_weights import COLUMN, relative_weights, reward_trainer
from plumbline.training.trainer.pairs import load_splits
from plumbline.training.trainer.receipts import Pairs, reward_receipt, validation_receipt
from plumbline.training.trainer.runs import report_validation, train, trainer_arguments
from plumbline.training.trainer.validation import reward_metrics, rewards

SUPERVISION = "the last token of the response, at which the reward is read"


def train_reward_model(workspace: Workspace, recipe: RewardRecipe) -> dict[str, Any]:
    """Train the reward model into the output folder and return the facts.

    Raises:
        MaskBreach: If the mask receipt refuses.
        TrainingError: If the backbone is not the reference policy's, TRL holds other rows than it
            was given, or the loss stops being finite.
    """
    spec = workspace.spec
    reference = workspace.tree("reference_policy") / "model"
    tokenizer = load_tokenizer(reference)
    encoder = ChatEncoder(tokenizer, spec.model.max_length)
    splits = load_splits(workspace.tree("preference_data"), encoder, workspace.log)
    model, backbone = reward_model_from_policy(reference, spec.hardware, recipe.seed)
    arguments = reward_arguments(spec, recipe, workspace.checkpoints)
    trainer = _trainer(arguments, recipe, model, tokenizer, splits["train"])
    receipt = MaskReceipt(
        supervision=SUPERVISION,
        splits={
            "train": reward_receipt(trainer, splits["train"], encoder),
            "validation": validation_receipt(splits["validation"], encoder, reward=True),
        },
    )
    workspace.write_receipt(receipt)
    parameters = parameter_counts(trainer.model)
    training = train(trainer, workspace)
    metrics = _validate(workspace.output, trainer.model, splits["validation"], recipe)
    report_validation(workspace, training.steps, training.steps, metrics)
    saved = save_model(trainer.model, tokenizer, workspace.output / "model")
    facts = training_facts(
        workspace.output, recipe.seed, training, receipt, splits, tokenizer, saved
    )
    objective = {
        "loss": "bradley_terry",
        **recipe.model_dump(include={"margin_scale", "centering", "label_smoothing"}),
    }
    return {
        **facts,
        **objective,
        "weighted": relative_weights(splits["train"].rows) is not None,
        "backbone": backbone,
        "validation": metrics,
        "parameters": parameters,
    }


def reward_arguments(spec: JobSpec, recipe: RewardRecipe, folder: Path) -> tuple[Any, Any]:
    """TRL's arguments and the adapter's configuration (None without one); no model is loaded."""
    arguments = RewardConfig(
        **trainer_arguments(recipe.optimizer, spec.hardware, recipe.seed, folder),
        max_length=None,  # longer pairs were dropped, and counted, before
        center_rewards_coefficient=recipe.centering or None,
    )
    return arguments, lora_config(spec.model, scalar_head=True)


def _trainer(
    built: tuple[Any, Any], recipe: RewardRecipe, model: Any, tokenizer: Any, pairs: Pairs
) -> Any:
    arguments, lora = built
    columns: dict[str, Sequence[Any]] = {
        "chosen_ids": [pair.chosen.ids for pair in pairs.ids],
        "rejected_ids": [pair.rejected.ids for pair in pairs.ids],
    }
    if recipe.margin_scale:  # RewardTrainer uses a column of this name without being asked
        columns["margin"] = [row.margin * recipe.margin_scale for row in pairs.rows]
    weights, trainer = relative_weights(pairs.rows), RewardTrainer
    if weights or recipe.label_smoothing:
        columns[COLUMN] = weights or [1.0] * len(pairs.rows)
        trainer = reward_trainer(recipe.label_smoothing)
    return trainer(
        model=model,
        args=arguments,
        train_dataset=Dataset.from_dict(columns),
        processing_class=tokenizer,
        peft_config=lora,
    )


def _validate(output: Path, model: Any, pairs: Pairs, recipe: RewardRecipe) -> dict[str, float]:
    """Reward every validation pair, write validation.jsonl and return the metrics."""
    scores = rewards(
        model,
        [*(pair.chosen.ids for pair in pairs.ids), *(pair.rejected.ids for pair in pairs.ids)],
    )
    chosen, rejected = scores[: len(pairs.rows)], scores[len(pairs.rows) :]
    lines = [
        {"id": row.id, "slice": row.context.slice, "chosen": good, "rejected": bad}
        for row, good, bad in zip(pairs.rows, chosen.tolist(), rejected.tolist(), strict=True)
    ]
    write_lines(output / "validation.jsonl", lines)
    margin = torch.tensor([row.margin * recipe.margin_scale for row in pairs.rows])
    return reward_metrics(
        chosen,
        rejected,
        margin,
        torch.tensor([row.weight for row in pairs.rows]),
        recipe.label_smoothing,
    )
