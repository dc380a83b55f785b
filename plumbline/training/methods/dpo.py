"""The aligned policy: direct preference optimization from the reference policy, with TRL's
DPOTrainer."""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from plumbline.objectives.losses import PairLogps, dpo_loss
from plumbline.objectives.masks import MaskReceipt
from plumbline.profile.training import DPORecipe
from plumbline.schema.preferences import PreferencePair
from plumbline.training.job.spec import JobSpec
from plumbline.training.job.workspace import Workspace, write_lines
from plumbline.training.models.encoding import ChatEncoder
from plumbline.training.models.tokenizers import load_tokenizer
from plumbline.training.models.weights import load_policy, lora_config, parameter_counts, save_model
from plumbline.training.trainer.facts import training_facts
from plumbline.training.trainer.pair_weights import COLUMN, dpo_trainer, relative_weights
from plumbline.training.trainer.pairs import load_splits
from plumbline.training.trainer.receipts import (
    Pairs,
    dpo_receipt,
    require_same_tokens,
    validation_receipt,
)
from plumbline.training.trainer.runs import (
    fast_head,
    planned_steps,
    report_validation,
    train,
    trainer_arguments,
)
from plumbline.training.trainer.validation import dpo_metrics, pair_logps

SUPERVISION = (
    "tokens of both responses and their ends; the loss compares the sums of their log-probabilities"
)
COMPARED = 64
"""Pairs that TRL tokenizes itself, beside the hostile ones, to prove that it reads what we read."""


def train_aligned_policy(workspace: Workspace, recipe: DPORecipe) -> dict[str, Any]:
    """Train the aligned policy into the output folder and return the facts.

    Raises:
        MaskBreach: If the mask receipt refuses.
        TrainingError: If TRL holds other rows or tokens than it was given, or the loss stops being
            finite.
    """
    spec = workspace.spec
    source = workspace.tree("reference_policy") / "model"
    tokenizer = load_tokenizer(source)
    encoder = ChatEncoder(tokenizer, spec.model.max_length)
    splits = load_splits(workspace.tree("preference_data"), encoder, workspace.log)
    with fast_head(spec.hardware) as fast:
        reference = pair_logps(load_policy(source, spec.hardware), splits["validation"].ids)
        before = _metrics(splits["validation"], reference, reference, recipe)
        trainer = _trainer(spec, recipe, source, workspace.checkpoints, encoder, splits["train"])
        receipt = MaskReceipt(
            supervision=SUPERVISION,
            splits={
                "train": dpo_receipt(trainer, splits["train"], encoder),
                "validation": validation_receipt(splits["validation"], encoder, reward=False),
            },
        )
        workspace.write_receipt(receipt)
        parameters = parameter_counts(trainer.model)
        report_validation(workspace, 0, planned_steps(trainer), before)
        training = train(trainer, workspace)
        policy = pair_logps(trainer.model, splits["validation"].ids)
    after = _metrics(splits["validation"], policy, reference, recipe)
    _write_validation(workspace.output, splits["validation"], policy, reference, recipe.beta)
    report_validation(workspace, training.steps, training.steps, after)
    saved = save_model(trainer.model, tokenizer, workspace.output / "model")
    facts = training_facts(
        workspace.output, recipe.seed, training, receipt, splits, tokenizer, saved
    )
    objective = {
        "loss": "dpo + sft" if recipe.sft_weight else "dpo",
        **recipe.model_dump(include={"beta", "sft_weight", "label_smoothing"}),
    }
    return {
        **facts,
        **objective,
        "weighted": relative_weights(splits["train"].rows) is not None,
        "fast_head": fast,
        "validation": {"before": before, "after": after},
        "parameters": parameters,
    }


def dpo_arguments(spec: JobSpec, recipe: DPORecipe, folder: Path) -> tuple[Any, Any]:
    """TRL's arguments and the adapter's configuration (None without one); no model is loaded."""
    # The weight of a loss that is off would have no effect, so it is not named at all.
    weight = recipe.sft_weight
    objective = (
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, weight]}
        if weight
        else {"loss_type": ["sigmoid"]}
    )
    arguments = DPOConfig(
        **trainer_arguments(recipe.optimizer, spec.hardware, recipe.seed, folder),
        max_length=None,  # longer pairs were dropped, and counted, before
        beta=recipe.beta,
        **objective,
    )
    return arguments, lora_config(spec.model, scalar_head=False)


def _trainer(
    spec: JobSpec,
    recipe: DPORecipe,
    source: Path,
    checkpoints: Path,
    encoder: ChatEncoder,
    pairs: Pairs,
) -> Any:
    """A DPOTrainer that holds our ids of all pairs.

    TRL renders a conversation three times for each pair, which takes longer than a tenth of the
    training here. So it is given a sample of the conversations, every hostile one among them; its
    ids must equal ours, and then it gets ours of all pairs.

    Raises:
        TrainingError: If TRL reads other tokens than the chat template gives.
    """
    arguments, lora = dpo_arguments(spec, recipe, checkpoints)
    sample = comparison_sample(encoder, pairs)
    weights = relative_weights(pairs.rows)
    weighted = weights is not None or recipe.label_smoothing > 0
    trainer = (dpo_trainer(recipe.label_smoothing, recipe.sft_weight) if weighted else DPOTrainer)(
        model=load_policy(source, spec.hardware),
        # With an adapter, the policy without it is the reference; otherwise the reference is loaded
        # on its own.
        ref_model=None if lora else load_policy(source, spec.hardware),
        args=arguments,
        train_dataset=Dataset.from_list([conversation(pairs.rows[index]) for index in sample]),
        processing_class=encoder.tokenizer,
        peft_config=lora,
    )
    require_same_tokens(
        trainer.train_dataset,
        [pairs.rows[index] for index in sample],
        [pairs.ids[index] for index in sample],
        encoder,
    )
    columns: dict[str, Sequence[Any]] = {
        "prompt_ids": [pair.chosen.prompt for pair in pairs.ids],
        "chosen_ids": [pair.chosen.ids[len(pair.chosen.prompt) :] for pair in pairs.ids],
        "rejected_ids": [pair.rejected.ids[len(pair.rejected.prompt) :] for pair in pairs.ids],
    }
    if weighted:
        columns[COLUMN] = weights or [1.0] * len(pairs.rows)
    trainer.train_dataset = Dataset.from_dict(columns)
    return trainer


def comparison_sample(encoder: ChatEncoder, pairs: Pairs) -> list[int]:
    """Positions of the pairs that TRL tokenizes for comparison: the first ones, and every one with
    text that looks like a control token."""
    return [
        index
        for index, row in enumerate(pairs.rows)
        if index < COMPARED
        or encoder.hostile(*(message.content for message in row.prompt), row.chosen, row.rejected)
    ]


def conversation(row: PreferencePair) -> dict[str, Any]:
    """A pair in TRL's conversational form; control tokens in its texts stay text because we say so,
    and data cannot say otherwise."""
    return {
        "prompt": [{"role": message.role, "content": message.content} for message in row.prompt],
        "chosen": [{"role": "assistant", "content": row.chosen}],
        "rejected": [{"role": "assistant", "content": row.rejected}],
        "chat_template_kwargs": {"sanitize_control_tokens": True},
    }


def _metrics(
    pairs: Pairs, policy: PairLogps, reference: PairLogps, recipe: DPORecipe
) -> dict[str, float]:
    return dpo_metrics(
        policy, reference, pairs.ids, torch.tensor([row.weight for row in pairs.rows]), recipe
    )


def _write_validation(
    output: Path, pairs: Pairs, policy: PairLogps, reference: PairLogps, beta: float
) -> None:
    """Implicit rewards of every validation pair, in units of beta times nats."""
    result = dpo_loss(policy, reference, beta=beta)
    scores = zip(
        pairs.rows, result.chosen_reward.tolist(), result.rejected_reward.tolist(), strict=True
    )
    lines = [
        {"id": row.id, "slice": row.context.slice, "chosen": good, "rejected": bad}
        for row, good, bad in scores
    ]
    write_lines(output / "validation.jsonl", lines)
