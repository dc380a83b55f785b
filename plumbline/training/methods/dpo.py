"""The aligned policy: direct preference optimization from the reference policy, with TRL's
DPOTrainer."""

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset
from trl import DPOConfig, DPOTrainer

from plumbline.errors import TrainingError
from plumbline.objectives.losses import PairLogps, PairLoss, dpo_loss, sft_loss, weighted_mean
from plumbline.objectives.masks import MaskReceipt
from plumbline.profile.models import Model
from plumbline.profile.training import DPORecipe, Hardware
from plumbline.schema.kinds import PREFERENCE_DATA, REFERENCE_POLICY, VALIDATION_FILE
from plumbline.schema.preferences import PreferencePair
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.encoding import ChatEncoder, Pairs
from plumbline.training.models.tokenizers import load_tokenizer
from plumbline.training.models.weights import load_policy, lora_config, parameter_counts, save_model
from plumbline.training.trainer.facts import TrainingFacts, shared_facts
from plumbline.training.trainer.pair_weights import (
    COLUMN,
    collate_weights,
    keep_weights,
    relative_weights,
)
from plumbline.training.trainer.pairs import load_splits, scored_pairs
from plumbline.training.trainer.receipts import (
    dpo_receipt,
    require_same_tokens,
    validation_receipt,
    write_receipt,
)
from plumbline.training.trainer.runs import fast_head, train, trainer_arguments
from plumbline.training.trainer.validation import pair_logps, share_above

SUPERVISION = (
    "tokens of both responses and their ends; the loss compares the sums of their log-probabilities"
)
COMPARED = 64
"""Pairs that TRL tokenizes itself, beside the hostile ones, to prove that it reads what we read."""


class DPOFacts(TrainingFacts):
    """What a DPO job states: its objective, and the validation metrics around the training."""

    beta: float
    sft_weight: float
    label_smoothing: float
    weighted: bool
    fast_head: bool
    validation: dict[str, dict[str, float]]


def train_aligned_policy(
    recipe: DPORecipe,
    model: Model,
    hardware: Hardware,
    inputs: Mapping[str, Path],
    workspace: Workspace,
) -> DPOFacts:
    """Train the aligned policy into the output folder and return the facts.

    Raises:
        MaskBreach: If the mask receipt refuses.
        TrainingError: If TRL holds other rows or tokens than it was given, or the loss stops being
            finite.
    """
    source = inputs[REFERENCE_POLICY] / "model"
    encoder = ChatEncoder(load_tokenizer(source), model.max_length)
    splits = load_splits(inputs[PREFERENCE_DATA], encoder, workspace.log)
    held_back = splits["validation"]
    built = dpo_arguments(recipe, model, hardware, workspace.checkpoints)
    reference = pair_logps(load_policy(source, hardware), held_back.ids)
    before = dpo_metrics(reference, reference, held_back, recipe)
    trainer = _trainer(
        recipe, built, encoder, splits["train"], lambda: load_policy(source, hardware)
    )
    receipt = MaskReceipt(
        supervision=SUPERVISION,
        splits={
            "train": dpo_receipt(trainer, splits["train"], encoder),
            "validation": validation_receipt(held_back, encoder, reward=False),
        },
    )
    write_receipt(receipt, workspace.folder, workspace.output)
    parameters = parameter_counts(trainer.model)
    with fast_head(hardware) as fast:
        run = train(trainer, workspace, before=before)
    policy = pair_logps(trainer.model, held_back.ids)
    after = dpo_metrics(policy, reference, held_back, recipe)
    # Implicit rewards of every validation pair, in units of beta times nats.
    rewards = dpo_loss(policy, reference, beta=recipe.beta)
    workspace.write_lines(
        VALIDATION_FILE, scored_pairs(held_back, rewards.chosen_reward, rewards.rejected_reward)
    )
    workspace.report_validation(run.steps, run.steps, after)
    saved = save_model(trainer.model, encoder.tokenizer, workspace.output / "model")
    return DPOFacts(
        **shared_facts(saved, run, receipt, splits),
        seed=recipe.seed,
        loss="dpo + sft" if recipe.sft_weight else "dpo",
        parameters=parameters,
        beta=recipe.beta,
        sft_weight=recipe.sft_weight,
        label_smoothing=recipe.label_smoothing,
        weighted=relative_weights(splits["train"].rows) is not None,
        fast_head=fast,
        validation={"before": before, "after": after},
    )


def dpo_arguments(
    recipe: DPORecipe, model: Model, hardware: Hardware, folder: Path
) -> tuple[Any, Any]:
    """TRL's arguments and the adapter's configuration (None without one); no model is loaded."""
    # The weight of a loss that is off would have no effect, so it is not named at all.
    objective = (
        {"loss_type": ["sigmoid", "sft"], "loss_weights": [1.0, recipe.sft_weight]}
        if recipe.sft_weight
        else {"loss_type": ["sigmoid"]}
    )
    arguments = DPOConfig(
        **trainer_arguments(recipe.optimizer, hardware, recipe.seed, folder),
        max_length=None,  # longer pairs were dropped, and counted, before
        beta=recipe.beta,
        **objective,
    )
    return arguments, lora_config(model, scalar_head=False)


def dpo_metrics(
    policy: PairLogps, reference: PairLogps, pairs: Pairs, recipe: DPORecipe
) -> dict[str, float]:
    """Validation metrics of a policy against its reference: means over the pairs; the loss, as in
    training, counts each pair with its weight.

    `accuracy` is the share of pairs whose chosen response has the higher implicit reward;
    `logp_accuracy` the share whose chosen response is the more probable one. A tie counts half, so
    that a policy that equals its reference is at chance.
    """
    result = dpo_loss(policy, reference, beta=recipe.beta, label_smoothing=recipe.label_smoothing)
    # Lengths of the chosen responses and weights of the pairs, both of shape (b,).
    tokens = torch.tensor([len(pair.chosen.response) for pair in pairs.ids])
    weights = torch.tensor([row.weight for row in pairs.rows])
    return {
        "loss": float(weighted_mean(result.loss, weights)),
        "chosen_nll_per_token": float(sft_loss(policy.chosen, tokens)),
        "reward_margin": float((result.chosen_reward - result.rejected_reward).mean()),
        "accuracy": share_above(result.chosen_reward, result.rejected_reward),
        "logp_accuracy": share_above(policy.chosen, policy.rejected),
        "chosen_logp": float(policy.chosen.mean()),
        "rejected_logp": float(policy.rejected.mean()),
    }


def _trainer(
    recipe: DPORecipe,
    built: tuple[Any, Any],
    encoder: ChatEncoder,
    pairs: Pairs,
    load: Callable[[], Any],
) -> Any:
    """A DPOTrainer that holds our ids of all pairs.

    TRL renders a conversation three times for each pair, which takes longer than a tenth of the
    training here. So it is given a sample of the conversations, every hostile one among them; its
    ids must equal ours, and then it gets ours of all pairs.

    Args:
        recipe: What to train with.
        built: What `dpo_arguments` built of it.
        encoder: Made the ids.
        pairs: The pairs of the train split.
        load: Loads the reference policy, as often as it is called: models that TRL has touched are
            never copied.

    Raises:
        TrainingError: If TRL reads other tokens than the chat template gives.
    """
    arguments, lora = built
    sample = comparison_sample(encoder, pairs)
    sampled_rows = [pairs.rows[index] for index in sample]
    weights = relative_weights(pairs.rows)
    given = {
        "model": load(),
        # With an adapter, the policy without it is the reference; otherwise the reference is loaded
        # on its own.
        "ref_model": None if lora else load(),
        "peft_config": lora,
        "args": arguments,
        "train_dataset": Dataset.from_list([conversation(row) for row in sampled_rows]),
        "processing_class": encoder.tokenizer,
    }
    # TRL's own loss trains unless the data or the recipe ask for what it does not have.
    weighted = weights is not None or recipe.label_smoothing > 0
    trainer = WeightedDPOTrainer(recipe, **given) if weighted else DPOTrainer(**given)
    require_same_tokens(
        trainer.train_dataset, sampled_rows, [pairs.ids[index] for index in sample], encoder
    )
    columns: dict[str, Sequence[Any]] = {
        "prompt_ids": [pair.chosen.prompt for pair in pairs.ids],
        "chosen_ids": [pair.chosen.response for pair in pairs.ids],
        "rejected_ids": [pair.rejected.response for pair in pairs.ids],
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


class WeightedDPOTrainer(DPOTrainer):  # type: ignore[misc]  # TRL has no types
    """TRL's trainer with our loss and the metrics that belong to it, on batches that have a column
    of weights; the weight multiplies both terms of the loss of its pair."""

    def __init__(self, recipe: DPORecipe, **named: Any) -> None:
        super().__init__(**named)
        self._recipe = recipe
        collate_weights(self)
        if self.aux_loss_enabled:
            raise TrainingError(
                "pair weights and label smoothing do not train mixtures of experts; set"
                " label_smoothing to 0 and use pairs of one vote"
            )

    def _set_signature_columns_if_needed(self) -> None:
        super()._set_signature_columns_if_needed()
        keep_weights(self)

    def compute_loss(
        self, model: Any, inputs: Any, return_outputs: bool = False, num_items_in_batch: Any = None
    ) -> Any:
        """The weighted loss of a batch."""
        if return_outputs:
            raise TrainingError("this trainer gives losses only, no outputs of the model")
        # A batch of b pairs is 2b sequences: the chosen responses first, then the rejected ones.
        weight = inputs[COLUMN]  # (b,)
        policy, reference = _logps(model, inputs), self._reference_logps(inputs)
        result = dpo_loss(
            policy, reference, beta=self.beta, label_smoothing=self._recipe.label_smoothing
        )
        loss = (weight * result.loss).mean()
        if self._recipe.sft_weight:
            # Supervised tokens of the chosen half; the first position predicts nothing.
            tokens = inputs["completion_mask"][: len(weight), 1:].sum()
            loss = loss - self._recipe.sft_weight * (weight * policy.chosen).sum() / tokens
        self._record(policy, result)
        return loss

    def _reference_logps(self, inputs: Any) -> PairLogps:
        with torch.no_grad():
            if self.ref_model is not None:
                return _logps(self.ref_model, inputs)
            with self.accelerator.unwrap_model(self.model).disable_adapter():
                return _logps(self.model, inputs)

    def _record(self, policy: PairLogps, result: PairLoss) -> None:
        """Add the batch to TRL's own metrics, under TRL's names."""
        metrics = self._metrics["train" if self.model.training else "eval"]
        margins = result.chosen_reward - result.rejected_reward
        values = {
            "rewards/chosen": result.chosen_reward,
            "rewards/rejected": result.rejected_reward,
            "rewards/margins": margins,
            "rewards/accuracies": (margins > 0).float(),
            "logps/chosen": policy.chosen,
            "logps/rejected": policy.rejected,
        }
        for name, value in values.items():
            metrics[name].append(float(value.detach().mean()))


def _logps(model: Any, inputs: Any) -> PairLogps:
    """Log-probabilities of the responses of a batch, computed by TRL's head as in its own loss."""
    mask = inputs["completion_mask"]  # (2b, t), 1 on the tokens of the response
    labels = inputs["input_ids"].masked_fill(mask == 0, -100)
    outputs = model(
        input_ids=inputs["input_ids"],
        attention_mask=inputs["attention_mask"],
        use_cache=False,
        labels=labels,
        fused_lm_head=True,
    )
    # Prompt tuning puts positions in front; only the last ones are tokens of the batch. Unlabelled
    # positions have probability 1.
    chosen, rejected = outputs.log_probs[:, -(mask.shape[1] - 1) :].sum(dim=1).chunk(2)
    return PairLogps(chosen, rejected)
