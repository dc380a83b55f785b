"""The over-optimization curve, the calibration of the reward model, length drift and the
frontier."""

import itertools
import json
import math
from random import Random

import numpy as np
import pytest
from sklearn.metrics import brier_score_loss

from plumbline.evaluation.failure_modes.length_bias import length_drift
from plumbline.evaluation.failure_modes.over_optimization import (
    best_of_value,
    kl_of_best_of,
    over_optimization,
)
from plumbline.evaluation.frontier import read_frontier
from plumbline.evaluation.quality import is_right, quality
from plumbline.evaluation.report import build_report
from plumbline.evaluation.reward_models.accuracy import Rewards
from plumbline.evaluation.reward_models.calibration import calibration
from plumbline.evaluation.scorers import Score
from plumbline.schema.conversations import Decoder, Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import BestOfDraws, EvalPrompt, Sample
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import code_identity

DECODER = Decoder(temperature=1.0, max_new_tokens=48, seed=0)


def written(prompt, response):
    """The utility that stands in the response; a response that is no number cannot be scored."""
    del prompt
    try:
        return Score(metrics={"utility": float(response)}, label="written")
    except ValueError:
        return Score(metrics={"utility": None}, label="unscored", unscored="no number")


def prompt(number, slice_name="chat"):
    return EvalPrompt(
        id=f"p{number:04d}",
        prompt=(Message(role="user", content=str(number)),),
        expected="comply",
        context=Context(locale="en", domain="d", slice=slice_name),
    )


def draws(number, rewards, utilities):
    return BestOfDraws(
        prompt_id=f"p{number:04d}",
        slice="chat",
        responses=tuple(map(str, utilities)),
        rewards=tuple(rewards),
        tokens=(10,) * len(rewards),
    )


@pytest.mark.parametrize(
    ("n", "nats"), [(1, 0.0), (2, 0.193147), (4, 0.636294), (16, 1.835089), (64, 3.174508)]
)
def test_divergence_of_the_best_of_n(n, nats):
    """Gao et al. 2023, section 3: log n - (n - 1) / n; for 2 it is log 2 - 1/2 = 0.193147."""
    assert kl_of_best_of(n) == pytest.approx(nats, abs=5e-7)


def test_the_best_of_no_responses_does_not_exist():
    with pytest.raises(ValueError, match="best of 0"):
        kl_of_best_of(0)


@pytest.mark.parametrize("n", [1, 2, 3, 5])
def test_the_weights_are_the_mean_over_all_choices(n):
    """Every choice of n out of five draws, its last in the order of reward taken, the mean over all
    choices."""
    values = [0.3, -1.0, 2.5, 0.0, 4.0]
    brute = [values[max(choice)] for choice in itertools.combinations(range(5), n)]
    assert best_of_value(values, n) == pytest.approx(sum(brute) / len(brute))


@pytest.mark.requirement("E12")
def test_a_proxy_that_leaves_the_gold_behind_shows_as_a_turn_of_the_curve():
    """Gold rises with the reward up to 1 and falls beyond: the best of few is better than one draw,
    the best of many worse."""
    luck = Random(1)
    rows = []
    for number in range(200):
        rewards = [luck.gauss(0, 1) for _ in range(16)]
        rows.append(draws(number, rewards, [1 - abs(reward - 0.6) for reward in rewards]))
    curve = over_optimization(rows, [prompt(number) for number in range(200)], written, 0.95)
    gold = [point.gold.value for point in curve.points]
    assert [point.n for point in curve.points] == [1, 2, 4, 8, 16]
    assert gold[0] < gold[1] > gold[-1]
    assert [point.proxy.value for point in curve.points] == sorted(
        point.proxy.value for point in curve.points
    )
    assert curve.proxy_gain.low > 0
    # the expected maximum of 16 standard normals is 1.7660 (Harter 1961)
    assert curve.points[-1].proxy.low <= 1.7660 <= curve.points[-1].proxy.high
    assert curve.gold_gain.value == pytest.approx(gold[-1] - gold[0])


def test_a_prompt_with_a_draw_that_cannot_be_judged_is_counted_and_left_out_of_gold():
    rows = [draws(number, [0.0, 1.0], [0.0, 1.0]) for number in range(3)] + [
        draws(3, [0.0, 1.0], ["?", 5.0])
    ]
    curve = over_optimization(rows, [prompt(number) for number in range(4)], written, 0.95)
    assert (
        curve.points[-1].gold.value,
        curve.points[-1].gold.n,
        curve.points[-1].gold.unscored,
    ) == (1.0, 3, 1)
    assert curve.points[-1].proxy.n == 4


def test_draws_of_prompts_that_were_set_aside_are_passed_over():
    rows = [draws(number, [0.0, 1.0], [0.0, 1.0]) for number in range(4)]
    assert over_optimization(rows, [prompt(0), prompt(2)], written, 0.95).prompts == 2
    assert over_optimization(rows, [], written, 0.95) is None
    assert over_optimization(rows, [prompt(0)], written, 0.95) is None  # one prompt has no spread


def test_quality_takes_utility_first_and_is_right_never_does():
    metrics = {"utility": -0.3, "correctness": 1.0, "over_refusal": 0.0}
    assert quality(metrics) == ("utility", -0.3)
    assert is_right(metrics) is True
    assert quality({"harmful_compliance": 1.0, "over_refusal": None}) == (
        "harmful_compliance",
        False,
    )
    assert is_right({"harmful_compliance": 0.0}) is True
    assert is_right({"over_refusal": 1.0}) is False
    assert quality({"utility": None, "correctness": None}) is None
    assert is_right({"utility": 1.0, "refusal_rate": 1.0}) is None


def pairs(n, slope, seed=0):
    """Pairs whose label follows a Bradley-Terry model, rewarded with its log odds times a slope."""
    luck = np.random.default_rng(seed)
    odds = luck.normal(0, 2, n)
    chosen = luck.random(n) < 1 / (1 + np.exp(-odds))
    return {
        str(i): Rewards(
            chosen=float(slope * o) if c else 0.0, rejected=0.0 if c else float(slope * o)
        )
        for i, (o, c) in enumerate(zip(odds, chosen, strict=True))
    }


def test_a_calibrated_model_is_within_noise_and_an_overconfident_one_is_not():
    """Rewards that are the true log odds, and three times as large ones."""
    fair, bold = (calibration(pairs(2000, slope), 0.95, 0) for slope in (1.0, 3.0))
    assert not fair.miscalibrated
    assert bold.miscalibrated
    assert bold.overconfident
    assert bold.ece.low > fair.ece.value
    assert sum(one.pairs for one in fair.bins) == fair.pairs == 2000


def test_the_brier_score_is_sklearn_s_and_does_not_depend_on_the_reading():
    rewards = pairs(300, 1.0)
    difference = np.array([one.chosen - one.rejected for one in rewards.values()])
    found = calibration(rewards, 0.95, 0)
    assert found.brier.value == pytest.approx(
        brier_score_loss(np.ones(300), 1 / (1 + np.exp(-difference)), labels=[0, 1])
    )
    assert found.brier.low < found.brier.value < found.brier.high


def test_ece_by_hand():
    """30 pairs at log odds log 3 (confidence 0.75), 18 chosen: |0.6 - 0.75|; 10 at log 19 (0.95),
    all chosen: 0.05. (30 * 0.15 + 10 * 0.05) / 40 = 0.125."""
    rewards = {
        f"a{i}": Rewards(
            chosen=math.log(3) if i < 18 else 0.0, rejected=0.0 if i < 18 else math.log(3)
        )
        for i in range(30)
    }
    rewards |= {f"b{i}": Rewards(chosen=math.log(19), rejected=0.0) for i in range(10)}
    found = calibration(rewards, 0.95, 0)
    assert found.ece.value == pytest.approx(0.125)
    assert [(one.low, one.high, one.pairs) for one in found.bins] == [
        (0.7, 0.8, 30),
        (0.9, 1.0, 10),
    ]
    assert found.bins[0].observed.value == pytest.approx(0.6)


def test_equal_rewards_count_half_and_few_pairs_give_nothing():
    found = calibration({str(i): Rewards(chosen=1.0, rejected=1.0) for i in range(20)}, 0.95, 0)
    assert (found.ece.value, found.brier.value) == (0.0, 0.0)
    assert (
        calibration({str(i): Rewards(chosen=1.0, rejected=0.0) for i in range(19)}, 0.95, 0) is None
    )


def sampled(number, policy, slice_name, tokens, reward):
    return Sample(
        prompt_id=f"p{number:04d}",
        slice=slice_name,
        policy=policy,
        response=json.dumps(1.0),
        tokens=tokens,
        truncated=False,
        logp=-1.0 - number % 3,
        reference_logp=-2.0,
        reward=reward,
        seed=0,
    )


def world(offset=0.0, tokens=3):
    """Twenty prompts in each of two slices; within a slice reward is independent of length, between
    the slices it is not."""
    prompts, samples = [], []
    for number in range(40):
        slice_name = "short" if number < 20 else "long"
        prompts.append(prompt(number, slice_name))
        base = 5 if slice_name == "short" else 50
        for policy, extra in (("reference", 0), ("aligned", tokens)):
            own = base + extra + (number % 2)
            samples.append(
                sampled(
                    number,
                    policy,
                    slice_name,
                    own,
                    base / 10 + (number // 2 % 2) + offset * (policy == "aligned"),
                )
            )
    return build_report(prompts, samples, "sandbox", 0.95, 0, DECODER, score=written)


def test_length_drift_is_paired_and_its_pay_is_within_slices():
    """The aligned policy is 3 tokens longer on each prompt. Long slices are paid better, longer
    answers to like prompts are not: correlation 0."""
    drift = length_drift(*world())
    assert {name: one.value for name, one in drift.tokens.items()} == {
        "all": 3.0,
        "long": 3.0,
        "short": 3.0,
    }
    assert drift.paid["aligned"].value == pytest.approx(0, abs=1e-12)
    assert drift.paid["aligned"].low < 0 < drift.paid["aligned"].high


def test_a_policy_without_spread_has_no_correlation_and_says_why():
    report, scored = world()
    flat = [one.model_copy(update={"reward": 1.0}) for one in scored]
    assert length_drift(report, flat).paid == {}
    assert "same reward" in length_drift(report, flat).unavailable["aligned"]
    assert "10 are needed" in length_drift(report, flat[:8]).unavailable["reference"]


@pytest.fixture
def store(tmp_path):
    return ArtifactStore(tmp_path / "store")


def publish(store, kind, files, parents, facts):
    with store.staging() as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return store.publish(
            folder,
            kind=kind,
            config="sha256:" + "0" * 64,
            code=code_identity(),
            parents=parents,
            facts=facts,
        )[0]


def evals(store, recipe, beta, report, **parents):
    own = {
        role: publish(store, role, {"f": role.encode()}, {}, {})
        for role in ("eval_vault", "reference_policy", "reward_model")
    } | parents
    policy = publish(store, "aligned_policy", {"f": recipe.encode()}, {}, {"beta": beta})
    return publish(
        store,
        "held_out_evals",
        {"report.json": report.to_json()},
        {**own, "aligned_policy": policy},
        {"recipe": recipe},
    )


@pytest.mark.requirement("E16")
def test_the_frontier_holds_comparable_recipes_and_names_who_dominates(store):
    """Two recipes pay the same divergence and one gains more reward; a third was measured by
    another reward model and is no point."""
    weak, strong = world(0.5)[0], world(1.0)[0]
    first, _ = evals(store, "weak", 0.3, weak), evals(store, "strong", 0.1, strong)
    evals(
        store,
        "other",
        0.1,
        strong,
        reward_model=publish(store, "reward_model", {"f": b"another"}, {}, {}),
    )
    found = read_frontier(store, first)
    points = {point.recipe: point for point in found.points}
    assert points.keys() == {"weak", "strong"}
    assert found.gold_metric == "utility"
    assert points["weak"].reward.value == pytest.approx(0.5)
    assert (points["weak"].dominated_by, points["strong"].dominated_by) == ("strong", None)
    assert points["strong"].beta == 0.1
