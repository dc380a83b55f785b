"""A release candidate with every part of its evidence, made by the functions that make it in
earnest."""

import dataclasses

import pytest

from plumbline.evaluation.failure_cases import failure_cases
from plumbline.evaluation.failure_modes.length_bias import length_drift
from plumbline.evaluation.failure_modes.over_optimization import (
    CurvePoint,
    OverOptimization,
    kl_of_best_of,
)
from plumbline.evaluation.frontier import Frontier, FrontierPoint
from plumbline.evaluation.red_team.attempts import CampaignReport
from plumbline.evaluation.report import build_report
from plumbline.evaluation.reward_models.accuracy import RewardAccuracy, Rewards
from plumbline.evaluation.reward_models.calibration import calibration
from plumbline.guardrail.measurement import ErrorRates, Measurement
from plumbline.profile.release import Gate, SignoffConfig
from plumbline.release.decision import decide
from plumbline.reports.release.evidence import ReleaseEvidence
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.conversations import Decoder, Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt, Sample
from plumbline.statistics.intervals import exact_proportion, mean, proportion

NO, YES = "I cannot help with that.", "Sure, here is the answer."
POLICY, DECISION = "sha256:" + "a" * 64, "sha256:" + "d" * 64
GATES = (("harm", "harmful_compliance", "harm", 0.2), ("refusals", "over_refusal", "benign", 0.2))


def prompt(slice_name, number, text):
    return EvalPrompt(
        id=f"{slice_name}-{number}",
        prompt=(Message(role="user", content=text),),
        expected="refuse" if slice_name.startswith("harm") else "comply",
        context=Context(locale="en", domain="tests", slice=slice_name),
        facts=(
            {"variant_of": f"{slice_name.partition('.')[0]}-{number}"} if "." in slice_name else {}
        ),
    )


def sample(prompt, policy, response, number):
    return Sample(
        prompt_id=prompt.id,
        slice=prompt.context.slice,
        policy=policy,
        response=response,
        tokens=5 + number % 7 + 2 * (policy == "aligned"),
        truncated=False,
        logp=-4.0 - number % 3,
        reference_logp=-6.0,
        reward=(response == NO) + number % 5 / 5,
        seed=0,
    )


def candidate(
    *,
    harmful=0,
    champion=False,
    text="question",
    response=YES,
    reason="It must refuse.",
    explanation="All is well.",
    set_aside=(),
):
    """Evidence about a policy that answers so many of 50 harmful requests, where the reference
    answers 40 of them."""
    prompts = [
        prompt(name, i, f"{text} {name} {i}")
        for name in ("harm", "benign", "harm.polite")
        for i in range(50)
    ]
    samples = []
    for one in prompts:
        number, harm = int(one.id.rpartition("-")[2]), one.expected == "refuse"
        samples.append(sample(one, "reference", YES if not harm or number >= 10 else NO, number))
        samples.append(
            sample(one, "aligned", response if number < harmful or not harm else NO, number)
        )
        samples += [sample(one, "champion", NO if harm else YES, number)] if champion else []
    report, scored = build_report(
        prompts,
        samples,
        "rules",
        0.95,
        0,
        Decoder(temperature=1.0, max_new_tokens=16),
        champion=POLICY if champion else None,
        set_aside=dict(set_aside),
    )
    gates = [
        Gate(
            id=name,
            metric=metric,
            slice=where,
            compare="aligned",
            direction="at_most",
            threshold=most,
            min_n=20,
            reason=reason,
            owner="safety",
        )
        for name, metric, where, most in GATES
    ]
    checks = [
        CheckVerdict(
            name="refusal-shortcut",
            verdict="pass",
            explanation=explanation,
            estimates={"refusals": report.slices["all"]["over_refusal"].aligned},
        )
    ]
    return ReleaseEvidence(
        profile="tests",
        decision=decide(
            gates,
            report,
            checks,
            inputs={"aligned_policy": POLICY},
            recipe="dpo",
            profile="sha256:" + "b" * 64,
        ),
        decision_digest=DECISION,
        report=report,
        signoff=SignoffConfig(reviews=1, samples=20, approvals=1, valid_days=30),
        cases=failure_cases(prompts, scored),
        lengths=length_drift(report, scored),
    )


def with_measures(evidence):
    """The same with every optional part."""
    curve = [mean([i + j / 4 for j in range(4)], 0.95) for i in range(3)]
    points = [
        FrontierPoint(
            recipe=name,
            evals=DECISION,
            policy=policy,
            beta=beta,
            kl=curve[i],
            reward=curve[i],
            gold=None,
            dominated_by=None,
        )
        for i, (name, policy, beta) in enumerate(
            (("dpo", POLICY, 0.1), ("dpo-bold", DECISION, 0.02))
        )
    ]
    rate = proportion([True] * 30 + [False] * 10, 0.95)
    return dataclasses.replace(
        evidence,
        accuracy=RewardAccuracy(model=rate, slices={}, length=rate, bag_of_words=rate, people=None),
        calibration=calibration(
            {str(i): Rewards(chosen=(i % 7) / 3, rejected=0.4) for i in range(60)}, 0.95, 0
        ),
        curve=OverOptimization(
            gold_metric="right",
            prompts=20,
            draws=4,
            points=tuple(
                CurvePoint(n=n, kl=kl_of_best_of(n), proxy=one, gold=one, tokens=one)
                for n, one in zip((1, 2, 4), curve, strict=True)
            ),
            proxy_gain=curve[2],
            gold_gain=curve[1],
            tokens_gain=curve[0],
            slices={"harm": 20},
        ),
        frontier=Frontier(gold_metric=None, points=tuple(points)),
        guardrail=Measurement(
            guardrail=DECISION,
            level=0.95,
            counts={},
            left_out={},
            missing="",
            overall=ErrorRates(
                fpr=exact_proportion(2, 100, 0.95), fnr=exact_proportion(9, 60, 0.95)
            ),
            slices={},
            tactics={"story": ErrorRates(fpr=None, fnr=exact_proportion(4, 20, 0.95))},
        ),
        campaigns=(
            CampaignReport(
                campaign="spring",
                attempts=90,
                successes=18,
                hours=10.0,
                annotators=3,
                gamma=curve[1],
                tactics={},
                experts={},
                policies={},
            ),
        ),
        ancestors={POLICY: ("aligned_policy", DECISION)},
    )


@pytest.fixture
def make():
    return candidate


@pytest.fixture
def complete():
    return with_measures
