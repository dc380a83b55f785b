"""Pair weights and label noise: what the trainers minimize is what the formulas say, and TRL's own
loss where nobody asks for more."""

import itertools
import json
import math
from types import SimpleNamespace

import pytest
import torch

from plumbline.objectives.losses import bradley_terry_loss, dpo_loss, reward_centering
from plumbline.profile.training import Hardware
from plumbline.training.methods import dpo, reward_model
from plumbline.training.models.encoding import ChatEncoder
from plumbline.training.models.tokenizers import load_tokenizer
from plumbline.training.models.weights import load_policy, reward_model_from_policy
from plumbline.training.trainer.pair_weights import relative_weights
from plumbline.training.trainer.pairs import load_splits
from plumbline.training.trainer.receipts import dpo_receipt, reward_receipt
from plumbline.training.trainer.validation import pair_logps, rewards

CPU = Hardware(device="cpu", precision="float32", threads=1)
ROWS = 16


def test_relative_weights(first_pair):
    """Weights 3, 1/3 and 2/3 have the mean 4/3."""
    rows = [first_pair.model_copy(update={"weight": weight}) for weight in (3.0, 1 / 3, 2 / 3)]
    assert relative_weights(rows) == pytest.approx([9 / 4, 1 / 4, 1 / 2])
    assert relative_weights([first_pair.model_copy(update={"weight": 3.0})] * 2) is None


def shake(model):
    """Move the policy away from its reference, so that no term is zero."""
    generator = torch.Generator().manual_seed(0)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.02 * torch.randn(parameter.shape, generator=generator))


def batch_loss(trainer, rows=range(ROWS)):
    """The trainer's own loss on some rows, as its loader would give them, without dropout and
    without a step."""
    trainer.model.eval()
    trainer._set_signature_columns_if_needed()
    dataset = trainer.train_dataset.select(rows)
    dataset = dataset.select_columns(
        [name for name in dataset.column_names if name in trainer._signature_columns]
    )
    with torch.no_grad():
        return float(trainer.compute_loss(trainer.model, trainer.data_collator(list(dataset))))


def set_weights(pairs):
    """A ranking's third of a vote, single votes, and pairs of several votes."""
    for index, row in enumerate(pairs.rows):
        pairs.rows[index] = row.model_copy(update={"weight": (1 / 3, 1.0, 1.0, 4.0)[index % 4]})


@pytest.fixture
def aligned(bench, make_job, tmp_path):
    """Makes the DPO trainer of a recipe, on pairs with or without weights."""
    number = itertools.count()

    def make(weighted, **changes):
        recipe = bench.spec("aligned_policy").recipe.model_copy(
            update={"sft_weight": 0.0, **changes}
        )
        job = make_job(bench.spec("aligned_policy", recipe), tmp_path / f"policy-{next(number)}")
        source = job.inputs["reference_policy"] / "model"
        encoder = ChatEncoder(load_tokenizer(source), 128)
        pairs = load_splits(job.inputs["preference_data"], encoder, print)["train"]
        if weighted:
            set_weights(pairs)
        built = dpo.dpo_arguments(*job.planned)
        trainer = dpo._trainer(recipe, built, encoder, pairs, lambda: load_policy(source, CPU))
        shake(trainer.model)
        reference = load_policy(source, CPU)
        return SimpleNamespace(
            trainer=trainer,
            pairs=pairs,
            encoder=encoder,
            reference=reference,
            recipe=recipe,
        )

    return make


@pytest.fixture
def rewarded(bench, make_job, tmp_path):
    """Makes the reward trainer of a recipe, on pairs with or without weights."""
    number = itertools.count()

    def make(weighted, **changes):
        recipe = bench.spec("reward_model").recipe.model_copy(update=changes)
        job = make_job(bench.spec("reward_model", recipe), tmp_path / f"reward-{next(number)}")
        source = job.inputs["reference_policy"] / "model"
        tokenizer = load_tokenizer(source)
        encoder = ChatEncoder(tokenizer, 128)
        pairs = load_splits(job.inputs["preference_data"], encoder, print)["train"]
        if weighted:
            set_weights(pairs)
        model, _ = reward_model_from_policy(source, CPU, 0)
        arguments, _ = reward_model.reward_arguments(*job.planned)
        trainer = reward_model._trainer(
            recipe, pairs, model=model, args=arguments, processing_class=tokenizer
        )
        shake(trainer.model)
        return SimpleNamespace(trainer=trainer, pairs=pairs, encoder=encoder)

    return make


def test_equal_weights_leave_trl_as_it_is(aligned, rewarded):
    from trl import DPOTrainer, RewardTrainer

    assert type(aligned(weighted=False).trainer) is DPOTrainer
    assert type(rewarded(weighted=False).trainer) is RewardTrainer


@pytest.mark.parametrize("sft_weight", [0.0, 1.0])
def test_our_dpo_loss_in_the_trainer_is_trls(aligned, monkeypatch, sft_weight):
    """With weights of 1 and without noise, the loss that takes the place of TRL's has its value."""
    plain = aligned(weighted=False, sft_weight=sft_weight)
    expected = batch_loss(plain.trainer)
    monkeypatch.setattr(dpo, "relative_weights", lambda rows: [1.0] * len(rows))
    own = aligned(weighted=False, sft_weight=sft_weight)
    assert type(own.trainer) is not type(plain.trainer)
    assert batch_loss(own.trainer) == pytest.approx(expected, abs=1e-6)


def test_weights_multiply_the_dpo_loss(aligned):
    made = aligned(weighted=True, sft_weight=0.5)
    ids = made.pairs.ids[:ROWS]
    policy, reference = pair_logps(made.trainer.model, ids), pair_logps(made.reference, ids)
    weight = torch.tensor([row.weight for row in made.pairs.rows[:ROWS]]) / (
        sum(row.weight for row in made.pairs.rows) / len(made.pairs.rows)
    )
    tokens = sum(len(pair.chosen.ids) - len(pair.chosen.prompt) for pair in ids)
    expected = (weight * dpo_loss(policy, reference, beta=0.1).loss).mean() - 0.5 * (
        weight * policy.chosen
    ).sum() / tokens
    unweighted = (
        dpo_loss(policy, reference, beta=0.1).loss.mean() - 0.5 * policy.chosen.sum() / tokens
    )
    found = batch_loss(made.trainer)
    assert found == pytest.approx(float(expected), abs=1e-5)
    assert found != pytest.approx(float(unweighted), abs=1e-3)


def test_a_pair_counts_the_same_in_every_batch(aligned):
    """The mean of the losses of two halves is the loss of the whole, which a division by the
    weights of each batch would break."""
    trainer = aligned(weighted=True).trainer
    halves = [batch_loss(trainer, range(start, start + 5)) for start in (0, 5)]
    assert sum(halves) / 2 == pytest.approx(batch_loss(trainer, range(10)), abs=1e-6)


@pytest.mark.requirement("D13")
def test_label_smoothing_is_conservative_dpo_by_trls_own_losses(aligned):
    """TRL has no conservative DPO, but with s its sigmoid loss and r its robust loss at the same
    share e of wrong labels, r = ((1 - e) s - e f) / (1 - 2 e) for the flipped loss f, so (1 - e) s
    + e f = 2 (1 - e) s - (1 - 2 e) r: a sum of two losses that TRL has.
    """
    share = 0.2
    made = aligned(weighted=False, label_smoothing=share)
    found = batch_loss(made.trainer)
    trl = aligned(weighted=False).trainer
    trl.loss_types, trl.loss_weights, trl.label_smoothing = (
        ["sigmoid", "robust"],
        [2 * (1 - share), -(1 - 2 * share)],
        share,
    )
    assert found == pytest.approx(batch_loss(trl), abs=1e-6)
    trl.loss_types, trl.loss_weights = ["sigmoid"], [1.0]
    assert found != pytest.approx(batch_loss(trl), abs=1e-3)


@pytest.mark.requirement("D13")
def test_weights_and_label_smoothing_of_the_reward_model(rewarded):
    made = rewarded(weighted=True, label_smoothing=0.1)
    ids, rows = made.pairs.ids[:ROWS], made.pairs.rows[:ROWS]
    scores = rewards(
        made.trainer.model,
        [*(pair.chosen.ids for pair in ids), *(pair.rejected.ids for pair in ids)],
    )
    chosen, rejected, margin = (
        scores[:ROWS],
        scores[ROWS:],
        torch.tensor([row.margin for row in rows]),
    )
    weight = torch.tensor([row.weight for row in rows]) / (
        sum(row.weight for row in made.pairs.rows) / len(made.pairs.rows)
    )
    losses = bradley_terry_loss(
        chosen, rejected, margin, label_smoothing=0.1
    ) + 0.01 * reward_centering(chosen, rejected)
    found = batch_loss(made.trainer)
    assert found == pytest.approx(float((weight * losses).mean()), abs=1e-5)
    assert found != pytest.approx(float(losses.mean()), abs=1e-3)


def test_our_reward_loss_in_the_trainer_is_trls(rewarded, monkeypatch):
    expected = batch_loss(rewarded(weighted=False).trainer)
    monkeypatch.setattr(reward_model, "relative_weights", lambda rows: [1.0] * len(rows))
    assert batch_loss(rewarded(weighted=False).trainer) == pytest.approx(expected, abs=1e-6)


def test_receipts_read_weighted_trainers(aligned, rewarded):
    made = aligned(weighted=True)
    assert dpo_receipt(made.trainer, made.pairs, made.encoder).rows_used == len(made.pairs.rows)
    made = rewarded(weighted=True)
    assert reward_receipt(made.trainer, made.pairs, made.encoder).rows_used == len(made.pairs.rows)


def test_the_adapter_is_switched_off_for_the_reference(aligned):
    """With a low-rank adapter there is no second model: the policy without its adapter is the
    reference."""
    from peft import LoraConfig, get_peft_model

    made = aligned(weighted=True, label_smoothing=0.1)
    trainer = made.trainer
    adapted = get_peft_model(
        trainer.model, LoraConfig(r=4, target_modules=["q_proj"], init_lora_weights=False)
    )
    trainer.model, trainer.ref_model = adapted, None
    found = batch_loss(trainer)
    ids = made.pairs.ids[:ROWS]
    policy = pair_logps(adapted, ids)
    with adapted.disable_adapter():
        reference = pair_logps(adapted, ids)
    weight = torch.tensor(relative_weights(made.pairs.rows)[:ROWS])
    result = dpo_loss(policy, reference, beta=0.1, label_smoothing=0.1)
    assert float(result.chosen_reward.abs().max()) > 0.01
    assert found == pytest.approx(float((weight * result.loss).mean()), abs=1e-5)


def test_a_job_with_label_smoothing_says_so(bench):
    """A whole job in its own process: its facts name the loss, and its validation loss is the
    smoothed one of the rewards that it wrote down.

    l(-d) = l(d) + d, so with 10 % wrong labels the loss of a pair is ln(1 + e**-d) + d / 10.
    """
    recipe = bench.spec("aligned_policy").recipe.model_copy(update={"label_smoothing": 0.1})
    folder = bench.prepare(bench.spec("aligned_policy", recipe), "smoothed")
    facts = bench.run(folder)["facts"]
    assert (facts["label_smoothing"], facts["weighted"]) == (0.1, False)
    assert bench.results["aligned_policy"]["facts"]["label_smoothing"] == 0.0
    path = folder / "output" / "validation.jsonl"
    differences = [
        line["chosen"] - line["rejected"] for line in map(json.loads, path.read_text().splitlines())
    ]
    expected = [math.log1p(math.exp(-difference)) + difference / 10 for difference in differences]
    assert facts["validation"]["after"]["loss"] == pytest.approx(
        math.fsum(expected) / len(expected), abs=1e-5
    )
