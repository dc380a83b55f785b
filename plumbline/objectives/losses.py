"""The losses that Plumbline trains with, as free functions of tensors.

Notation: b pairs or sequences in a batch, t positions, v tokens in the vocabulary.
Log-probabilities are natural (nats), and summed over the supervised tokens of a response unless a
name says otherwise. Losses are not reduced: the caller takes the mean it needs.

TRL computes the same losses inside its trainers; these are the ones that validation reports, and
that the tests hold TRL to.
"""

from typing import NamedTuple

import torch
from torch import Tensor
from torch.nn.functional import logsigmoid


class PairLogps(NamedTuple):
    """Log-probabilities of the two responses of b pairs under one policy, each of shape (b,), in
    nats."""

    chosen: Tensor
    rejected: Tensor


class PairLoss(NamedTuple):
    """DPO loss of b pairs and the rewards that the policy implies, each of shape (b,); the rewards
    are detached."""

    loss: Tensor
    chosen_reward: Tensor
    rejected_reward: Tensor


def sequence_logps(logits: Tensor, ids: Tensor, mask: Tensor) -> Tensor:
    """Log-probability of the supervised tokens of each sequence.

    The shift happens here: position i of the logits predicts token i + 1, so the first token of a
    sequence has no probability.

    Args:
        logits: Scores of the next token, shape (b, t, v).
        ids: Token ids, shape (b, t).
        mask: True (or 1) where a token is supervised, False where it is prompt or padding; shape
            (b, t).

    Returns:
        Sums over the supervised tokens, shape (b,), float32, in nats.

    Raises:
        ValueError: If the shapes disagree, a row has no supervised token, or its first token is
            supervised.
    """
    if logits.shape[:2] != ids.shape or ids.shape != mask.shape:
        raise ValueError(
            f"logits {tuple(logits.shape)}, ids {tuple(ids.shape)} and mask {tuple(mask.shape)} do"
            " not describe the same sequences"
        )
    supervised = mask.bool()
    if not bool(supervised[:, 1:].any(dim=1).all()):
        raise ValueError(
            "a sequence has no supervised token: the sum would be 0 and read as certainty"
        )
    if bool(supervised[:, 0].any()):
        raise ValueError("the first token of a sequence is supervised, but nothing predicts it")
    logps = (
        torch.log_softmax(logits[:, :-1].float(), dim=-1).gather(-1, ids[:, 1:, None]).squeeze(-1)
    )
    return logps.masked_fill(~supervised[:, 1:], 0.0).sum(dim=1)


def dpo_loss(
    policy: PairLogps, reference: PairLogps, *, beta: float, label_smoothing: float = 0.0
) -> PairLoss:
    """Sigmoid DPO loss of each pair.

    Source: Rafailov et al. 2023, eq. 7; the implicit reward is their eq. 5 without the partition
    function, which cancels in a pair. With label smoothing it is conservative DPO (Mitchell 2023,
    "A note on DPO with noisy preferences", eq. 3): the expected loss where that share of the labels
    is wrong. The loss is then least at a finite difference of rewards, log((1 - e) / e), instead of
    growing confident for ever.

    Args:
        policy: Log-probabilities under the policy being trained.
        reference: The same under the frozen reference policy.
        beta: Strength of the pull toward the reference policy, > 0, dimensionless.
        label_smoothing: Probability e that a label is wrong, in [0, 0.5).

    Returns:
        (1 - e) * l(d) + e * l(-d), where l(d) = -log sigmoid(d) and d = beta * (log-ratio of chosen
        - log-ratio of rejected); and the implicit rewards beta * log(policy / reference).

    Raises:
        ValueError: If shapes differ, or beta or label_smoothing is out of range.
    """
    if not beta > 0:
        raise ValueError(f"beta is {beta}; it must be positive")
    shapes = {tuple(tensor.shape) for tensor in (*policy, *reference)}
    if len(shapes) != 1:
        raise ValueError(
            f"log-probabilities have the shapes {sorted(shapes)}; all four must be equal"
        )
    chosen_reward = beta * (policy.chosen - reference.chosen)
    rejected_reward = beta * (policy.rejected - reference.rejected)
    loss = _smoothed(
        -logsigmoid(chosen_reward - rejected_reward),
        -logsigmoid(rejected_reward - chosen_reward),
        label_smoothing,
    )
    return PairLoss(loss, chosen_reward.detach(), rejected_reward.detach())


def bradley_terry_loss(
    chosen: Tensor, rejected: Tensor, margin: Tensor, *, label_smoothing: float = 0.0
) -> Tensor:
    """Bradley-Terry ranking loss with margin of each pair.

    Source: Touvron et al. 2023 (Llama 2), eq. 2; with margin 0 it is Ouyang et al. 2022, eq. 1, for
    a single pair. Label smoothing is that of `dpo_loss`; where a label is wrong, the rejected
    response is taken to be the better one by the same margin.

    Args:
        chosen: Rewards of the chosen responses, shape (b,).
        rejected: Rewards of the rejected responses, shape (b,).
        margin: By how much the chosen reward must exceed the rejected one, in reward units, >= 0,
            shape (b,).
        label_smoothing: Probability e that a label is wrong, in [0, 0.5).

    Returns:
        (1 - e) * l(chosen - rejected - margin) + e * l(rejected - chosen - margin), where l(d) =
        -log sigmoid(d), shape (b,).

    Raises:
        ValueError: If the shapes differ, or label_smoothing is out of range.
    """
    if not chosen.shape == rejected.shape == margin.shape:
        raise ValueError(
            f"chosen {tuple(chosen.shape)}, rejected {tuple(rejected.shape)} and margin"
            f" {tuple(margin.shape)} must have one shape"
        )
    return _smoothed(
        -logsigmoid(chosen - rejected - margin),
        -logsigmoid(rejected - chosen - margin),
        label_smoothing,
    )


def weighted_mean(values: Tensor, weights: Tensor) -> Tensor:
    """Mean over b pairs in which each counts with its weight: sum(weight * value) / sum(weight), a
    scalar.

    Raises:
        ValueError: If the shapes differ or a weight is not positive.
    """
    if values.shape != weights.shape:
        raise ValueError(
            f"values {tuple(values.shape)} and weights {tuple(weights.shape)} must have one shape"
        )
    if not bool((weights > 0).all()):
        raise ValueError("a weight is not positive")
    if bool((weights == weights[0]).all()):
        return values.mean()  # to the last bit what it was without weights
    return (weights * values).sum() / weights.sum()


def reward_centering(chosen: Tensor, rejected: Tensor) -> Tensor:
    """Squared sum of the two rewards of each pair, shape (b,): the term that keeps rewards near
    zero.

    Source: Eisenstein et al. 2023, eq. 2. The ranking loss alone leaves the rewards of each prompt
    free to drift together.
    """
    return (chosen + rejected) ** 2


def sft_loss(logps: Tensor, tokens: Tensor) -> Tensor:
    """Negative log-likelihood per supervised token over a whole batch: a scalar, in nats.

    The mean is over tokens and not over sequences, so a long response weighs more than a short one,
    as in TRL.

    Args:
        logps: Log-probabilities of the responses, summed over their tokens, shape (b,).
        tokens: Number of supervised tokens of each response, shape (b,).

    Raises:
        ValueError: If the shapes differ or a response has no supervised token.
    """
    if logps.shape != tokens.shape:
        raise ValueError(
            f"logps {tuple(logps.shape)} and tokens {tuple(tokens.shape)} must have one shape"
        )
    if not bool((tokens > 0).all()):
        raise ValueError("a response has no supervised token")
    return -logps.sum() / tokens.sum()


def _smoothed(loss: Tensor, flipped: Tensor, label_smoothing: float) -> Tensor:
    """The expected loss where a label is wrong with a probability, from the losses under the label
    and under its opposite."""
    if not 0 <= label_smoothing < 0.5:
        raise ValueError(
            f"label_smoothing is {label_smoothing}; it must be at least 0 and below 0.5, where"
            " labels say nothing"
        )
    return (1 - label_smoothing) * loss + label_smoothing * flipped if label_smoothing else loss
