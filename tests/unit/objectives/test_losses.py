"""Losses against numbers derived by hand."""

import math

import pytest
import torch

from plumbline.objectives.losses import (
    PairLogps,
    bradley_terry_loss,
    dpo_loss,
    reward_centering,
    sequence_logps,
    sft_loss,
    weighted_mean,
)


def tensor(*values: float) -> torch.Tensor:
    return torch.tensor(values, dtype=torch.float32)


def pair(chosen: float, rejected: float) -> PairLogps:
    return PairLogps(tensor(chosen), tensor(rejected))


def test_sequence_logps_sums_the_supervised_tokens():
    """Logits (0, ln 3) give the probabilities 1/4 and 3/4. The tokens after the prompt are 1 and 0:
    ln 3/4 + ln 1/4 = ln 3/16 = -1.673976."""
    logits = tensor(0.0, math.log(3)).expand(1, 3, 2)
    assert sequence_logps(
        logits, torch.tensor([[0, 1, 0]]), torch.tensor([[0, 1, 1]])
    ).item() == pytest.approx(-1.673976, abs=1e-6)


def test_sequence_logps_reads_the_logits_one_position_earlier():
    """Position 0 gives token 1 the probability 3/4, position 1 gives it 1/2. Only the first counts
    for the token at position 1."""
    logits = torch.tensor([[[0.0, math.log(3)], [0.0, 0.0]]])
    assert sequence_logps(
        logits, torch.tensor([[0, 1]]), torch.tensor([[0, 1]])
    ).item() == pytest.approx(math.log(3 / 4), abs=1e-6)


def test_padding_and_prompt_do_not_count():
    generator = torch.Generator().manual_seed(0)
    logits = torch.randn(1, 5, 7, generator=generator)
    ids = torch.randint(0, 7, (1, 5), generator=generator)
    short = sequence_logps(logits[:, :4], ids[:, :4], torch.tensor([[0, 0, 1, 1]]))
    other_padding = ids.clone()
    other_padding[0, 4] = (ids[0, 4] + 1) % 7
    assert torch.equal(
        short, sequence_logps(logits, other_padding, torch.tensor([[0, 0, 1, 1, 0]]))
    )


@pytest.mark.parametrize(
    ("mask", "message"),
    [
        ([0, 0, 0], "no supervised token"),
        ([1, 1, 0], "first token"),
        ([1, 0, 0], "no supervised token"),
    ],
)
def test_sequence_logps_refuses_a_mask_that_would_lie(mask, message):
    with pytest.raises(ValueError, match=message):
        sequence_logps(
            torch.zeros(1, 3, 2), torch.zeros(1, 3, dtype=torch.long), torch.tensor([mask])
        )


def test_sequence_logps_refuses_other_shapes():
    with pytest.raises(ValueError, match="do not describe the same sequences"):
        sequence_logps(torch.zeros(1, 3, 2), torch.zeros(1, 4, dtype=torch.long), torch.ones(1, 4))


def test_dpo_loss_by_hand():
    """Rewards 0.5 * (-1 + 2) = 0.5 and 0.5 * (-3 + 2) = -0.5; their difference is 1, so the loss is
    ln(1 + 1/e) = 0.313262."""
    result = dpo_loss(pair(-1, -3), pair(-2, -2), beta=0.5)
    assert result.loss.item() == pytest.approx(0.313262, abs=1e-6)
    assert (result.chosen_reward.item(), result.rejected_reward.item()) == (0.5, -0.5)


def test_a_policy_that_equals_its_reference_has_loss_ln_2():
    assert dpo_loss(pair(-7, -4), pair(-7, -4), beta=0.1).loss.item() == pytest.approx(
        math.log(2), abs=1e-6
    )


def test_dpo_gradient_has_the_form_of_the_paper():
    """d loss / d chosen = -beta * (1 - p) with p = sigmoid(1) = 0.731059: -0.5 * 0.268941 =
    -0.134471, and the opposite for rejected."""
    chosen, rejected = tensor(-1.0).requires_grad_(), tensor(-3.0).requires_grad_()
    dpo_loss(PairLogps(chosen, rejected), pair(-2, -2), beta=0.5).loss.sum().backward()
    assert chosen.grad is not None
    assert rejected.grad is not None
    assert chosen.grad.item() == pytest.approx(-0.134471, abs=1e-6)
    assert rejected.grad.item() == pytest.approx(0.134471, abs=1e-6)
    step = 1e-3
    moved = [
        dpo_loss(pair(-1 + delta, -3), pair(-2, -2), beta=0.5).loss.item()
        for delta in (step, -step)
    ]
    assert (moved[0] - moved[1]) / (2 * step) == pytest.approx(chosen.grad.item(), abs=1e-4)


def test_dpo_rewards_carry_no_gradient():
    result = dpo_loss(
        PairLogps(tensor(-1.0).requires_grad_(), tensor(-3.0)), pair(-2, -2), beta=0.5
    )
    assert result.loss.requires_grad
    assert not result.chosen_reward.requires_grad


@pytest.mark.parametrize("beta", [0.0, -0.1, math.nan])
def test_dpo_refuses_a_beta_without_meaning(beta):
    with pytest.raises(ValueError, match="must be positive"):
        dpo_loss(pair(-1, -3), pair(-2, -2), beta=beta)


def test_dpo_refuses_other_shapes():
    with pytest.raises(ValueError, match="all four must be equal"):
        dpo_loss(pair(-1, -3), PairLogps(tensor(-2, -2), tensor(-2, -2)), beta=0.1)


def test_bradley_terry_by_hand():
    """A lead of exactly the margin gives ln 2; a lead of 1 without margin gives ln(1 + 1/e) =
    0.313262."""
    losses = bradley_terry_loss(tensor(2, 2), tensor(1, 1), tensor(1, 0))
    assert losses.tolist() == pytest.approx([math.log(2), 0.313262], abs=1e-6)


def test_a_larger_margin_costs_more():
    low, high = bradley_terry_loss(tensor(1, 1), tensor(0, 0), tensor(0, 1 / 3)).tolist()
    assert low < high


def test_bradley_terry_refuses_other_shapes():
    with pytest.raises(ValueError, match="one shape"):
        bradley_terry_loss(tensor(1, 2), tensor(1), tensor(0))


def test_centering_by_hand():
    """(2 + 1) squared is 9; rewards of opposite sign cost nothing."""
    assert reward_centering(tensor(2, 3), tensor(1, -3)).tolist() == [9, 0]


def test_sft_loss_by_hand():
    """3 nats over 6 tokens are 0.5 nats a token; a mean over sequences would be 0.625."""
    assert sft_loss(tensor(-2, -1), tensor(2, 4)).item() == 0.5


def test_sft_loss_refuses_a_response_without_tokens():
    with pytest.raises(ValueError, match="no supervised token"):
        sft_loss(tensor(-2, 0), tensor(2, 0))


@pytest.mark.requirement("D13")
def test_conservative_dpo_by_hand():
    """As above the difference of the rewards is 1. l(-1) = l(1) + 1, so with 10 % wrong labels the
    loss is l(1) + 0.1 * 1 = 0.413262."""
    result = dpo_loss(pair(-1, -3), pair(-2, -2), beta=0.5, label_smoothing=0.1)
    assert result.loss.item() == pytest.approx(0.413262, abs=1e-6)
    assert (result.chosen_reward.item(), result.rejected_reward.item()) == (0.5, -0.5)


def test_conservative_dpo_is_least_where_the_labels_are_right_as_often_as_the_policy_says():
    """The derivative e - sigmoid(-d) is 0 at d = log((1 - e) / e), which is log 9 at 10 %; without
    smoothing it never is."""
    chosen = tensor(math.log(9)).requires_grad_()
    dpo_loss(
        PairLogps(chosen, tensor(0)), pair(0, 0), beta=1.0, label_smoothing=0.1
    ).loss.sum().backward()
    assert chosen.grad.item() == pytest.approx(0, abs=1e-6)
    chosen.grad = None
    dpo_loss(PairLogps(chosen, tensor(0)), pair(0, 0), beta=1.0).loss.sum().backward()
    assert chosen.grad.item() == pytest.approx(-0.1, abs=1e-6)


@pytest.mark.requirement("D13")
def test_smoothed_bradley_terry_by_hand():
    """chosen - rejected - margin = 0.5 and rejected - chosen - margin = -1.5: 0.8 * ln(1 + e**-0.5)
    + 0.2 * ln(1 + e**1.5) = 0.8 * 0.474077 + 0.2 * 1.701413 = 0.719544.
    """
    loss = bradley_terry_loss(tensor(2), tensor(1), tensor(0.5), label_smoothing=0.2)
    assert loss.item() == pytest.approx(0.719544, abs=1e-6)


@pytest.mark.parametrize("share", [-0.1, 0.5, 1.0, math.nan])
def test_label_smoothing_must_leave_the_labels_a_meaning(share):
    with pytest.raises(ValueError, match="label_smoothing"):
        dpo_loss(pair(-1, -3), pair(-2, -2), beta=0.5, label_smoothing=share)
    with pytest.raises(ValueError, match="label_smoothing"):
        bradley_terry_loss(tensor(2), tensor(1), tensor(0), label_smoothing=share)


def test_without_label_smoothing_the_loss_is_the_same_to_the_last_bit():
    chosen, rejected = torch.randn(2, 64, generator=torch.Generator().manual_seed(0))
    plain = dpo_loss(PairLogps(chosen, rejected), PairLogps(rejected, chosen), beta=0.3).loss
    assert torch.equal(
        plain,
        -torch.nn.functional.logsigmoid(0.3 * (chosen - rejected) - 0.3 * (rejected - chosen)),
    )
    assert torch.equal(
        bradley_terry_loss(chosen, rejected, rejected),
        -torch.nn.functional.logsigmoid(chosen - rejected - rejected),
    )


def test_weighted_mean_by_hand():
    """(2 * 1 + 1 * 2 + 1 * 4) / (2 + 1 + 1) = 2; weights that are all equal change nothing, not
    even a bit."""
    assert weighted_mean(tensor(1, 2, 4), tensor(2, 1, 1)).item() == 2.0
    values = torch.rand(101, generator=torch.Generator().manual_seed(1))
    assert torch.equal(weighted_mean(values, torch.full((101,), 3.0)), values.mean())


@pytest.mark.parametrize(
    ("weights", "message"),
    [
        ((1, 0), "not positive"),
        ((1, -1), "not positive"),
        ((1, math.nan), "not positive"),
        ((1,), "one shape"),
    ],
)
def test_weights_that_would_lie_are_refused(weights, message):
    with pytest.raises(ValueError, match=message):
        weighted_mean(tensor(1, 2), tensor(*weights))
