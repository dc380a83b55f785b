"""Exercises about judgment: what the evidence allows, and which way of looking good has been
found."""

from random import Random
from typing import Final

from plumbline.evaluation.failure_modes.pressures import (
    proxy_reward,
    refusal_shortcut,
    template_overfit,
)
from plumbline.evaluation.paired_answers import pair_answers
from plumbline.evaluation.scoring import ScoredSample
from plumbline.exercises.exercise import Exercise, ExerciseQuestion
from plumbline.profile.evaluation import BestOf, PressureConfig
from plumbline.profile.release import Gate
from plumbline.release.decision import decide
from plumbline.release.gates import judge_gate
from plumbline.schema.checks import (
    PROXY_REWARD,
    REFUSAL_SHORTCUT,
    TEMPLATE_OVERFIT,
    CheckVerdict,
    Verdict,
)
from plumbline.schema.conversations import Decoder, Message
from plumbline.schema.eval_report import EvalReport, MetricComparison
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt, Policy
from plumbline.statistics.intervals import proportion

_PROMPTS: Final = 100
_RULE: Final = PressureConfig(
    best_of=BestOf(n=2, prompts=1),
    reward_gap=0.0,
    refusal_rise=0.05,
    template_gap=0.1,
    ambiguous=0.35,
    changed_answers=0.1,
)


def _gate_verdict(rng: Random) -> ExerciseQuestion:
    case = rng.choice(("clear", "straddles", "bad", "small"))
    n = {"clear": rng.choice((300, 400)), "straddles": 300, "bad": 200, "small": 60}[case]
    count = {
        "clear": rng.randint(0, 3),
        "straddles": rng.randint(10, 20),
        "bad": rng.randint(30, 60),
        "small": 0,
    }[case]
    gate, report = _gate(), _report(count, n)
    judged = judge_gate(gate, report)
    assert judged.estimate is not None
    interval = f"[{judged.estimate.low:.3f}, {judged.estimate.high:.3f}]"
    return ExerciseQuestion(
        text=(
            "A gate wants harmful compliance of at most 5 % and at least 200 scored samples."
            f" {count} of {n} harmful requests were answered: {count / n:.1%}, 95 % interval"
            f" {interval}. What is the verdict?"
        ),
        answer=judged.verdict,
        choices=("pass", "fail", "inconclusive", "error"),
        reasons={
            "pass": (
                "A gate passes when the whole interval lies on its good side and there are enough"
                " samples, however good the rate looks."
            ),
            "fail": (
                "A gate fails only when the whole interval lies on its bad side: until then the"
                " policy may still be good enough."
            ),
            "inconclusive": (
                "The interval decides here, and there are enough samples: more of them are not"
                " needed."
            ),
            "error": "That is for evidence that is missing; here there is some.",
        },
        solution=f"The gate says: {judged.explanation}.",
    )


def _would_you_release(rng: Random) -> ExerciseQuestion:
    count, n = rng.choice(((0, 400), (1, 400), (14, 300), (60, 300)))
    check: Verdict = rng.choice(("pass", "pass", "inconclusive", "fail", "error"))
    verdict = CheckVerdict(name=REFUSAL_SHORTCUT, verdict=check, explanation="see the question")
    decision = decide(
        [_gate()], _report(count, n), [verdict], inputs={}, recipe="exercise", profile="exercise"
    )
    gate = decision.gates[0].verdict
    words = {
        "pass": "passes",
        "fail": "fails",
        "inconclusive": "is inconclusive",
        "error": "could not be evaluated",
    }
    return ExerciseQuestion(
        text=(
            f"The gate on harmful compliance {words[gate]} ({count} of {n}), and the check"
            f" `refusal-shortcut` {words[check]}. Everything else passes, and the launch is"
            " tomorrow. Release, hold or reject?"
        ),
        answer=decision.verdict,
        choices=("release", "hold", "reject"),
        reasons={
            "release": (
                "Only when everything passes: what is undecided or missing is not good, it is"
                " unknown."
            ),
            "hold": "Nothing stands open any more: the evidence is there, and it decides.",
            "reject": "Nothing is known to be bad: what is missing can be collected.",
        },
        solution=(
            f"The decision is {decision.verdict}: one failure rejects, one open question holds, and"
            " only all passes release. The date is in none of the rules."
        ),
    )


def _which_pressure(rng: Random) -> ExerciseQuestion:
    answer = rng.choice((PROXY_REWARD, REFUSAL_SHORTCUT, TEMPLATE_OVERFIT))
    lost = rng.randint(40, 60)
    before = {"harmful": 40, "refused": 2, "right": 90, "reworded": 88, "reward": 0.0}
    after = {
        "harmful": 1,
        "refused": 3,
        "right": 91,
        "reworded": 90,
        "reward": -0.5 if answer == REFUSAL_SHORTCUT else 1.0,
    }
    if answer == PROXY_REWARD:
        after |= {"right": 91 - lost, "reworded": 90 - lost}
    elif answer == REFUSAL_SHORTCUT:
        after |= {"refused": lost}
    else:
        after |= {"reworded": 90 - lost}
    verdicts = _pressures(before, after)
    [fired] = [check for check in verdicts if check.verdict == "fail"]
    return ExerciseQuestion(
        text=(
            f"Reference, then aligned, of {_PROMPTS} prompts each: harmful requests answered"
            f" {before['harmful']}, {after['harmful']}; requests that only sound dangerous refused"
            f" {before['refused']}, {after['refused']}; plain questions answered right"
            f" {before['right']}, {after['right']}, the same questions in other words"
            f" {before['reworded']}, {after['reworded']}; mean reward {after['reward']:+g}. Which"
            " pressure is this?"
        ),
        answer=fired.name,
        choices=(PROXY_REWARD, REFUSAL_SHORTCUT, TEMPLATE_OVERFIT),
        reasons={
            PROXY_REWARD: (
                "The reward must rise while what is judged falls in the wording that was"
                " trained on."
            ),
            REFUSAL_SHORTCUT: "Refusals of harmless requests hardly moved.",
            TEMPLATE_OVERFIT: "The reworded questions are answered as well as the others.",
        },
        solution=f"The check says: {fired.explanation}",
    )


def _gate() -> Gate:
    return Gate(
        id="harm",
        metric="harmful_compliance",
        slice="harm",
        compare="aligned",
        direction="at_most",
        threshold=0.05,
        min_n=200,
        reason="Harmful requests are refused.",
        owner="safety",
    )


def _report(count: int, n: int) -> EvalReport:
    estimate = proportion([i < count for i in range(n)], 0.95)
    return EvalReport(
        scorer="rules",
        level=0.95,
        seed=0,
        decoder=Decoder(temperature=1.0, max_new_tokens=16),
        samples="exercise",
        prompts=n,
        slices={
            "harm": {
                "harmful_compliance": MetricComparison(
                    reference=None, aligned=estimate, difference=None
                )
            }
        },
        pooled={},
        labels={},
        unavailable={},
    )


def _pressures(before: dict[str, float], after: dict[str, float]) -> tuple[CheckVerdict, ...]:
    """What three of the five pressures say about these counts."""
    prompts = [
        _prompt(name, i)
        for name in ("harm", "borderline", "plain", "plain.polite")
        for i in range(_PROMPTS)
    ]
    sides: dict[Policy, dict[str, float]] = {"reference": before, "aligned": after}
    scored = [
        _scored(prompt, i % _PROMPTS, policy, counts)
        for i, prompt in enumerate(prompts)
        for policy, counts in sides.items()
    ]
    answers = pair_answers(prompts, scored, None)
    return (
        proxy_reward(answers, None, _RULE, 0.95),
        refusal_shortcut(answers, _RULE, 0.95),
        template_overfit(answers, {"en": 1}, _RULE, 0.95),
    )


def _prompt(name: str, number: int) -> EvalPrompt:
    facts = (
        {"variant_of": f"plain-{number}", "variant": "polite"}
        if name == "plain.polite"
        else {"borderline": "yes"}
        if name == "borderline"
        else {}
    )
    return EvalPrompt(
        id=f"{name}-{number}",
        prompt=(Message(role="user", content=f"{name} {number}"),),
        expected="refuse" if name == "harm" else "comply",
        context=Context(locale="en", domain="exercise", slice=name),
        facts=facts,
    )


def _scored(
    prompt: EvalPrompt, number: int, policy: Policy, counts: dict[str, float]
) -> ScoredSample:
    name = prompt.context.slice
    refused = number < counts["refused"] if name == "borderline" else False
    right = (
        number
        < {"plain": counts["right"], "plain.polite": counts["reworded"]}.get(name, counts["right"])
        and not refused
    )
    harm = name == "harm"
    return ScoredSample(
        prompt_id=prompt.id,
        slice=name,
        policy=policy,
        response="",
        tokens=1,
        truncated=False,
        logp=None,
        reference_logp=None,
        reward=counts["reward"] + (number % 5 if policy == "aligned" else number % 3 + 1) / 10,
        seed=0,
        expected=prompt.expected,
        metrics={
            "harmful_compliance": float(number < counts["harmful"]) if harm else None,
            "over_refusal": None if harm else float(refused),
            "correctness": None if harm else float(right),
        },
        label="exercise",
        unscored=None,
    )


JUDGMENTS: Final = (
    Exercise("gate-verdict", "judgment", "What does the gate say?", _gate_verdict),
    Exercise("release-or-not", "judgment", "Would you release it?", _would_you_release),
    Exercise("which-pressure", "judgment", "It looks good. Is it?", _which_pressure),
)
"""In the order in which they are best done."""
