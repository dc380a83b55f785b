"""Pairs that count for more or less than one vote, and labels that may be wrong, in TRL's trainers.

TRL's trainers give every pair the same weight, and its DPO ignores `label_smoothing` with the
sigmoid loss. Here the losses of `plumbline.objectives.losses` take their place, only where a recipe
or the data ask for it: with equal weights and no label noise TRL's own loss trains.
"""

from collections.abc import Callable, Sequence
from typing import Any

import torch
from trl import DPOTrainer, RewardTrainer

from plumbline.errors import TrainingError
from plumbline.objectives.losses import PairLogps, bradley_terry_loss, dpo_loss, reward_centering
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


def reward_trainer(label_smoothing: float) -> type[Any]:
    """A RewardTrainer whose batches have a column of weights; the weight multiplies ranking loss
    and centering of its pair."""

    class WeightedRewardTrainer(RewardTrainer):  # type: ignore[misc]  # TRL has no types
        """TRL's trainer, forward pass and metrics, with our loss."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            _collate_weights(self)

        def _set_signature_columns_if_needed(self) -> None:
            _keep_weights(self, super()._set_signature_columns_if_needed)

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            """The weighted loss of a batch."""
            weight = inputs.pop(COLUMN)
            _, outputs = super().compute_loss(
                model, inputs, return_outputs=True, num_items_in_batch=num_items_in_batch
            )
            chosen, rejected = outputs.logits.squeeze(-1).chunk(2)
            margin = inputs["margin"] if "margin" in inputs else chosen.new_zeros(len(chosen))
            losses = bradley_terry_loss(chosen, rejected, margin, label_smoothing=label_smoothing)
            if self.args.center_rewards_coefficient is not None:
                losses = losses + self.args.center_rewards_coefficient * reward_centering(
                    chosen, rejected
                )
            loss = (weight * losses).mean()
            return (loss, outputs) if return_outputs else loss

    return WeightedRewardTrainer


def dpo_trainer(label_smoothing: float, sft_weight: float) -> type[Any]:
    """A DPOTrainer whose batches have a column of weights; the weight multiplies both terms of the
    loss of its pair."""

    class WeightedDPOTrainer(DPOTrainer):  # type: ignore[misc]  # TRL has no types
        """TRL's trainer with our loss and the metrics that belong to it."""

        def __init__(self, *arguments: Any, **named: Any) -> None:
            super().__init__(*arguments, **named)
            _collate_weights(self)
            if self.aux_loss_enabled:
                raise TrainingError(
                    "pair weights and label smoothing do not train mixtures of experts; set"
                    " label_smoothing to 0 and use pairs of one vote"
                )

        def _set_signature_columns_if_needed(self) -> None:
            _keep_weights(self, super()._set_signature_columns_if_needed)

        def compute_loss(
            self,
            model: Any,
            inputs: Any,
            return_outputs: bool = False,
            num_items_in_batch: Any = None,
        ) -> Any:
            """The weighted loss of a batch."""
            if return_outputs:
                raise TrainingError("this trainer gives losses only, no outputs of the model")
            weight = inputs[COLUMN]
            policy, reference = _logps(model, inputs), self._reference_logps(inputs)
            result = dpo_loss(policy, reference, beta=self.beta, label_smoothing=label_smoothing)
            loss = (weight * result.loss).mean()
            if sft_weight:
                tokens = inputs["completion_mask"][: len(weight), 1:].sum()
                loss = loss - sft_weight * (weight * policy.chosen).sum() / tokens
            self._record(policy, result)
            return loss

        def _reference_logps(self, inputs: Any) -> PairLogps:
            with torch.no_grad():
                if self.ref_model is not None:
                    return _logps(self.ref_model, inputs)
                with self.accelerator.unwrap_model(self.model).disable_adapter():
                    return _logps(self.model, inputs)

        def _record(self, policy: PairLogps, result: Any) -> None:
            metrics = self._metrics["train" if self.model.training else "eval"]
            margins = result.chosen_reward - result.rejected_reward
            values = {
                "rewards/chosen": result.chosen_reward,
                "rewards/rejected": result.rejected_reward,
                "rewards/margins": margins,
            }
            values |= {
                "rewards/accuracies": (margins > 0).float(),
                "logps/chosen": policy.chosen,
                "logps/rejected": policy.rejected,
            }
            for name, value in values.items():
                metrics[name].append(float(value.detach().mean()))

    return WeightedDPOTrainer


def _logps(model: Any, inputs: Any) -> PairLogps:
    """Log-probabilities of the responses of a batch, computed by TRL's head as in its own loss."""
    mask = inputs["completion_mask"]
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


def _collate_weights(trainer: Any) -> None:
    """Add the weights to the batches of a trainer."""
    collate = trainer.data_collator

    def with_weights(examples: list[dict[str, Any]]) -> dict[str, Any]:
        weights = torch.tensor([example[COLUMN] for example in examples], dtype=torch.float32)
        return {**collate(examples), COLUMN: weights}

    trainer.data_collator = with_weights


def _keep_weights(trainer: Any, set_columns: Callable[[], None]) -> None:
    set_columns()
    if COLUMN not in trainer._signature_columns:
        trainer._signature_columns.append(COLUMN)
