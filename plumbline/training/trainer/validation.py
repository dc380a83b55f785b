"""Scores of sequences under a model, and the validation metrics that come from them."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from plumbline.objectives.losses import (
    PairLogps,
    bradley_terry_loss,
    dpo_loss,
    reward_centering,
    sequence_logps,
    sft_loss,
    weighted_mean,
)
from plumbline.profile.training import DPORecipe
from plumbline.training.models.encoding import Encoded, EncodedPair

BATCH = 128
"""Most sequences scored at once; the scores do not depend on it beyond rounding."""
MAX_LOGITS = 2**28
"""Most logits held at once: a gibibyte in float32, which a vocabulary of 150,000 tokens fills with
1,800 positions."""


def response_logps(model: Any, sequences: Sequence[Encoded]) -> Tensor:
    """Log-probability of each response, its end token included, given its prompt; shape (n,),
    float32 on the CPU, in nats."""
    scores = torch.empty(len(sequences))
    with torch.inference_mode():
        for index, ids, attention in _batches(
            model, [one.ids for one in sequences], model.config.vocab_size
        ):
            starts = torch.tensor([[len(sequences[i].prompt)] for i in index], device=ids.device)
            supervised = attention.bool() & (
                torch.arange(ids.shape[1], device=ids.device)[None] >= starts
            )
            seen = (
                min(len(sequences[i].prompt) for i in index) - 1
            )  # positions that every row only reads
            logits = model(
                input_ids=ids,
                attention_mask=attention,
                use_cache=False,
                logits_to_keep=ids.shape[1] - seen,
            ).logits
            scores[index] = sequence_logps(logits, ids[:, seen:], supervised[:, seen:]).cpu()
    return scores


def rewards(model: Any, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Reward of each sequence, read at its last token; shape (n,), float32 on the CPU."""
    scores = torch.empty(len(sequences))
    with torch.inference_mode():
        for index, ids, attention in _batches(model, sequences, 1):
            scores[index] = (
                model(input_ids=ids, attention_mask=attention, use_cache=False)
                .logits.squeeze(-1)
                .float()
                .cpu()
            )
    return scores


def pair_logps(model: Any, pairs: Sequence[EncodedPair]) -> PairLogps:
    """Log-probabilities of both responses of each pair."""
    scores = response_logps(
        model, [*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)]
    )
    return PairLogps(scores[: len(pairs)], scores[len(pairs) :])


def dpo_metrics(
    policy: PairLogps,
    reference: PairLogps,
    pairs: Sequence[EncodedPair],
    weights: Tensor,
    recipe: DPORecipe,
) -> dict[str, float]:
    """Validation metrics of a policy against its reference: means over the pairs; the loss, as in
    training, counts each pair with its weight.

    `accuracy` is the share of pairs whose chosen response has the higher implicit reward;
    `logp_accuracy` the share whose chosen response is the more probable one. A tie counts half, so
    that a policy that equals its reference is at chance.
    """
    result = dpo_loss(policy, reference, beta=recipe.beta, label_smoothing=recipe.label_smoothing)
    tokens = torch.tensor([len(pair.chosen.ids) - len(pair.chosen.prompt) for pair in pairs])
    return {
        "loss": float(weighted_mean(result.loss, weights)),
        "reward_margin": float((result.chosen_reward - result.rejected_reward).mean()),
        "accuracy": share_above(result.chosen_reward, result.rejected_reward),
        "logp_accuracy": share_above(policy.chosen, policy.rejected),
        "chosen_logp": float(policy.chosen.mean()),
        "rejected_logp": float(policy.rejected.mean()),
        "chosen_nll_per_token": float(sft_loss(policy.chosen, tokens)),
    }


def reward_metrics(
    chosen: Tensor,
    rejected: Tensor,
    margin: Tensor,
    weights: Tensor,
    label_smoothing: float,
) -> dict[str, float]:
    """Validation metrics of a reward model: means over the pairs; in `accuracy` a tie counts half,
    and the loss counts each pair with its weight."""
    return {
        "loss": float(
            weighted_mean(
                bradley_terry_loss(chosen, rejected, margin, label_smoothing=label_smoothing),
                weights,
            )
        ),
        "accuracy": share_above(chosen, rejected),
        "margin": float((chosen - rejected).mean()),
        "centering": float(reward_centering(chosen, rejected).mean()),
    }


def share_above(chosen: Tensor, rejected: Tensor) -> float:
    """Share of pairs whose chosen score is the higher one, ties counted half."""
    return float(((chosen > rejected).float() + 0.5 * (chosen == rejected).float()).mean())


def _batches(
    model: Any, sequences: Sequence[Sequence[int]], outputs: int
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Batches of similar length: positions in `sequences`, ids padded on the right, and their
    attention mask.

    Args:
        model: Says where the tensors must be and which token pads.
        sequences: Ids of each sequence.
        outputs: Numbers that the model gives for each position.
    """
    model.eval()
    pad = model.config.pad_token_id
    order = sorted(range(len(sequences)), key=lambda position: len(sequences[position]))
    size = max(1, min(BATCH, MAX_LOGITS // (outputs * max(map(len, sequences), default=1))))
    for start in range(0, len(order), size):
        index = order[start : start + size]
        longest = len(sequences[index[-1]])
        ids = torch.tensor(
            [[*sequences[i], *[pad] * (longest - len(sequences[i]))] for i in index],
            device=model.device,
        )
        attention = torch.tensor(
            [[1] * len(sequences[i]) + [0] * (longest - len(sequences[i])) for i in index],
            device=model.device,
        )
        yield index, ids, attention
