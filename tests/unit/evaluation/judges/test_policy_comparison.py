"""A policy that only learned to sound nice: no judge at equal politeness prefers it, and no gate
lets it pass."""

from random import Random

import pytest

from plumbline.errors import InsufficientEvidence
from plumbline.evaluation.judges.llm_judge import ask_all
from plumbline.evaluation.judges.outcomes import questions_about
from plumbline.evaluation.judges.policy_comparison import (
    judged_policies,
    policy_pairs,
    wins_by_replies,
    wins_by_rewards,
)
from plumbline.evaluation.judges.style import courtesies, made_courteous
from plumbline.evaluation.report import build_report
from plumbline.evaluation.scoring import ScoredSample
from plumbline.profile.release import Gate
from plumbline.release.decision import decide
from plumbline.sandbox.lexicon import FILLERS
from plumbline.sandbox.responses import answer
from plumbline.sandbox.world import all_intents
from plumbline.schema.conversations import Decoder, Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt, Sample


def prompt(number, facts=None, expected="unknown"):
    context = Context(locale="en", domain="test", slice="s")
    text = f"question {number}?"
    return EvalPrompt(
        id=f"p{number}",
        prompt=(Message(role="user", content=text),),
        expected=expected,
        context=context,
        facts=facts or {},
    )


def scored(number, policy, response, reward=None, **fields):
    facts = {
        "tokens": len(response.split()),
        "truncated": False,
        "logp": None,
        "reference_logp": None,
        "seed": 0,
        "expected": "unknown",
    }
    base = {
        "prompt_id": f"p{number}",
        "slice": "s",
        "policy": policy,
        "response": response,
        "reward": reward,
        "metrics": {},
        "label": "answer",
        "unscored": None,
    }
    return ScoredSample(**(facts | base | fields))


def policies(aligned, reference, count=240):
    """Pairs of responses; `aligned` and `reference` say what each policy answers to a prompt."""
    prompts = [prompt(number) for number in range(count)]
    samples = [
        scored(number, name, says(number))
        for name, says in (("aligned", aligned), ("reference", reference))
        for number in range(count)
    ]
    return policy_pairs(prompts, samples)


def plain(quality):
    """A policy whose answers are right with this probability, in plain words."""
    rng = Random(quality)
    words = ["right" if rng.random() < quality else "wrong" for _ in range(1000)]
    return lambda number: f"{words[number]} answer {number}"


def charming(says, share):
    """The same answers, a share of them between polite phrases."""
    rng = Random(7)
    polite = [rng.random() < share for _ in range(1000)]
    return lambda number: made_courteous(says(number)) if polite[number] else says(number)


def vain(text):
    """A judge that pays for every courtesy, and for a right answer less than for two of them."""
    return courtesies(text) + ("right" in text) * 1.5


@pytest.mark.requirement("E7")
def test_at_equal_politeness_no_judge_prefers_the_charming_policy(endpoint, prefer):
    """The same share of right answers on both sides: the raw win rate is bought with courtesies
    alone."""
    pairs = policies(charming(plain(0.5), 0.6), plain(0.51))
    endpoint.say = prefer(vain)
    wins = wins_by_replies(
        pairs,
        ask_all(
            questions_about([pair.judged() for pair in pairs if not pair.identical]),
            endpoint.rule(concurrency=16),
        ),
    )
    found = judged_policies("llm", "vain", "e", pairs, wins, 0.95, cluster=None)
    assert found.length["all"].rate.low > 0.65  # it looks like a large improvement
    assert found.politeness["all"].matched.low < 0.5 < found.politeness["all"].matched.high
    assert (
        found.politeness["all"].length_controlled is None
        or found.politeness["all"].length_controlled.low < 0.5
    )
    assert "| all |" in found.to_markdown()


@pytest.mark.requirement("E7")
def test_at_equal_politeness_the_better_policy_wins_and_the_charming_worse_one_loses():
    """Right in 90 % against 50 %: the better policy wins among pairs that are alike in style,
    whichever of the two is charming."""
    for aligned, reference, better in (
        (charming(plain(0.9), 0.5), plain(0.5), True),
        (charming(plain(0.5), 0.6), plain(0.9), False),
    ):
        pairs = [
            pair.model_copy(
                update={
                    "aligned": pair.aligned.model_copy(
                        update={"reward": vain(pair.aligned.response)}
                    ),
                    "reference": pair.reference.model_copy(
                        update={"reward": vain(pair.reference.response)}
                    ),
                }
            )
            for pair in policies(aligned, reference)
        ]
        found = judged_policies(
            "reward-model", "vain", "e", pairs, wins_by_rewards(pairs), 0.95, cluster=None
        )
        assert found.length["all"].rate.low > 0.5  # by the raw rate both are improvements
        matched = found.politeness["all"].matched
        assert matched.low > 0.5 if better else matched.high < 0.5


@pytest.mark.requirement("E7")
def test_polite_wrong_answers_do_not_pass_the_gates_although_their_reward_rises():
    """The aligned policy wraps wrong answers in the sandbox's polite phrases, and the reward model
    pays for it."""
    rng = Random(3)
    intents = [intent for intent in all_intents() if intent.kind == "benign"][:200]
    prompts = [
        prompt(number, {"intent": intent.key, "language": "en"}, "comply")
        for number, intent in enumerate(intents)
    ]
    samples = []
    for number, intent in enumerate(intents):
        polite = f"{FILLERS[0].en} {answer(intent, 'en', rng, wrong=1)} {FILLERS[1].en}"
        for policy, response, reward in (
            ("reference", answer(intent, "en", rng), rng.gauss(0, 1)),
            ("aligned", polite, rng.gauss(2, 1)),
        ):
            samples.append(
                Sample(
                    **scored(number, policy, response, reward).model_dump(
                        include=set(Sample.model_fields)
                    )
                )
            )
    report, _ = build_report(
        prompts, samples, "sandbox", 0.95, 1, Decoder(temperature=1.0, max_new_tokens=48)
    )
    right = Gate(
        id="correct",
        metric="correctness",
        slice="s",
        compare="aligned",
        direction="at_least",
        threshold=0.7,
        min_n=100,
        reason="Right answers.",
        owner="h",
    )
    assert report.slices["s"]["reward"].difference.low > 1.5
    assert report.slices["s"]["correctness"].aligned.value == 0
    decision = decide([right], report, (), inputs={}, recipe="r", profile="p")
    assert decision.verdict == "reject"


def test_equal_words_are_a_tie_that_nobody_is_asked_about_and_an_empty_answer_is_judged(
    endpoint, prefer
):
    answers = {0: ("same", "same"), 1: ("", "something"), 2: ("right", "")}
    pairs = policies(lambda number: answers[number][0], lambda number: answers[number][1], count=3)
    endpoint.say = prefer(lambda text: bool(text.strip()))
    asked = questions_about([pair.judged() for pair in pairs if not pair.identical])
    wins = wins_by_replies(pairs, ask_all(asked, endpoint.rule()))
    assert wins == [0.5, 0.0, 1.0]
    assert len(endpoint.requests) == 4
    assert judged_policies("llm", "i", "e", pairs, wins, 0.95, cluster=None).identical == 1


def test_what_is_set_aside_or_has_no_answer_is_not_compared():
    samples = [scored(n, p, f"{p} {n}") for n in range(3) for p in ("aligned", "reference")]
    samples[0] = samples[0].model_copy(update={"set_aside": "exact"})
    pairs = policy_pairs([prompt(n) for n in range(4)], samples)
    assert [pair.prompt.id for pair in pairs] == ["p1", "p2"]
    assert wins_by_rewards(pairs) == [None, None]
    with pytest.raises(InsufficientEvidence, match="no verdict on any of 2 prompts"):
        judged_policies("reward-model", "i", "e", pairs, [None, None], 0.95, cluster=None)
