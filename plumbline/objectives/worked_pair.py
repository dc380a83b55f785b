"""The losses of one pair in plain numbers, for whoever works one by hand."""

from typing import NamedTuple

import torch

from plumbline.objectives.losses import PairLogps, bradley_terry_loss, dpo_loss


class DpoPair(NamedTuple):
    """The DPO loss of one pair in nats, and how it moves with the policy's log-probabilities."""

    loss: float
    slope_chosen: float
    """Derivative by the log-probability of the chosen response; never positive."""
    slope_rejected: float
    """The same for the rejected one; never negative."""


def preference_probability(first: float, second: float) -> float:
    """Probability that people prefer the first of two responses with these rewards, under
    Bradley-Terry."""
    rewards = [torch.tensor([value], dtype=torch.float64) for value in (first, second, 0.0)]
    return float(torch.exp(-bradley_terry_loss(rewards[0], rewards[1], rewards[2])))


def dpo_pair(policy: tuple[float, float], reference: tuple[float, float], beta: float) -> DpoPair:
    """The DPO loss of one pair and its slopes.

    Args:
        policy: Log-probability of the chosen and of the rejected response under the policy, nats.
        reference: The same under the reference.
        beta: Pull toward the reference.
    """
    chosen, rejected = (
        torch.tensor([value], dtype=torch.float64, requires_grad=True) for value in policy
    )
    fixed = PairLogps(*(torch.tensor([value], dtype=torch.float64) for value in reference))
    loss = dpo_loss(PairLogps(chosen, rejected), fixed, beta=beta).loss
    slopes = torch.autograd.grad(loss.sum(), (chosen, rejected))
    return DpoPair(float(loss.detach()), float(slopes[0]), float(slopes[1]))
