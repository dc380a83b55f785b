"""Whether a judge may be heard: judges with one known fault each, behind a real HTTP server, and
people's own judgments as the ceiling."""

import itertools

import pytest

from plumbline.data.formats.import_report import Attribution
from plumbline.data.formats.rewardbench import JudgedPair
from plumbline.errors import JudgeRefused
from plumbline.evaluation.judges.llm_judge import ask_all
from plumbline.evaluation.judges.outcomes import questions_about
from plumbline.evaluation.judges.reliability import (
    JudgeReliability,
    Reliabilities,
    reliability_check,
    reliability_of_replies,
    reliability_of_rewards,
    require_reliable,
    sample_pairs,
)
from plumbline.evaluation.judges.style import courtesies, made_courteous
from plumbline.evaluation.reward_models.accuracy import Rewards
from plumbline.profile.evaluation import JudgesConfig
from plumbline.profile.sources import SourceFile
from plumbline.schema.estimates import Estimate
from tests.unit.in_memory import import_feedback

RULE = JudgesConfig(min_agreement=0.6, max_flips=0.2, max_unparsed=0.1)


@pytest.fixture
def measured(endpoint):
    """Reliability of the judge that the endpoint plays at the moment."""

    def measure(pairs, courteous=0):
        replies = ask_all(questions_about(pairs, courteous), endpoint.rule(concurrency=8))
        return reliability_of_replies("judge-1", pairs, replies, [], 0.95)

    return measure


@pytest.fixture
def mixed_pairs(make_pairs):
    """Forty pairs whose better response is the longer one, and forty whose better response is the
    shorter one."""
    longer, shorter = (
        make_pairs(40, better="right and with many more words than the other one"),
        make_pairs(40, worse="wrong and with many more words than the other"),
    )
    return longer + [
        pair.model_copy(
            update={"id": f"{pair.id}-short", "prompt": pair.prompt * 3, "subset": "short"}
        )
        for pair in shorter
    ]


def right(text):
    return "right" in text


@pytest.mark.requirement("E9")
def test_a_judge_that_agrees_with_people_is_heard(measured, endpoint, prefer, mixed_pairs):
    endpoint.say = prefer(right)
    found = measured(mixed_pairs, courteous=40)
    verdict = require_reliable(found, RULE)
    assert (verdict.name, verdict.verdict, verdict.remedy) == ("judge-llm", "pass", "")
    assert found.agreement.value == found.longer.value == found.shorter.value == 1
    assert (
        found.flips.value,
        found.first.value,
        found.courtesy.value,
        found.unparsed.value,
        found.ties,
    ) == (0, 0.5, 0, 0, 0)
    assert set(found.slices) == {"s", "short"}
    assert found.unparsed.n == 240  # 80 pairs and 40 polite ones, each in both orders
    assert Reliabilities.from_json(Reliabilities(judges=(found,)).to_json()).judges == (found,)
    assert "| agreement with people | 100.0% [95.4%, 100.0%] | 80 |" in found.to_markdown()


@pytest.mark.requirement("E9")
def test_a_judge_that_goes_by_the_order_is_refused(measured, endpoint, reply_with, mixed_pairs):
    endpoint.say = lambda question: reply_with(question, "1")
    found = measured(mixed_pairs)
    assert (found.flips.value, found.first.value) == (1, 1)
    assert found.agreement is None  # it decided nothing, and half a win each is no agreement
    assert found.length.rate.value == 0.5
    with pytest.raises(JudgeRefused, match=r"depend on the order of the responses in 100\.0%"):
        require_reliable(found, RULE)


@pytest.mark.requirement("E9")
def test_a_judge_that_goes_by_length_is_refused_although_no_order_turns_it(
    measured, endpoint, prefer, mixed_pairs
):
    endpoint.say = prefer(len)
    found = measured(mixed_pairs)
    assert (found.longer.value, found.shorter.value, found.flips.value) == (1, 0, 0)
    assert found.length.length_controlled is None
    assert "every verdict" in found.length.why_not
    verdict = reliability_check(found, RULE)
    assert verdict.verdict == "fail"
    assert (
        "where people prefer the shorter response it agrees with them in 0.0%"
        in verdict.explanation
    )


@pytest.mark.requirement("E7")
def test_a_judge_that_pays_for_politeness_is_refused_although_it_agrees_with_people(
    measured, endpoint, prefer, mixed_pairs
):
    endpoint.say = prefer(lambda text: (courtesies(text), right(text)))
    found = measured(mixed_pairs, courteous=60)
    assert found.agreement.value == 1  # nobody is polite in these pairs
    assert (found.courtesy.value, found.courtesy.n) == (1, 60)
    verdict = reliability_check(found, RULE)
    assert verdict.verdict == "fail"
    assert "right verdicts are lost to politeness in 100.0%" in verdict.explanation


@pytest.mark.requirement("E9")
def test_replies_that_are_no_verdict_are_counted_and_are_no_ties(
    measured, endpoint, prefer, reply_with, mixed_pairs
):
    said = prefer(right)
    # one pair in four gets prose in one of its orders
    endpoint.say = lambda question: (
        "Both are good."
        if question["conversation"][0]["content"][9] in "02468"
        and right(question["responses"]["1"])
        else said(question)
    )
    found = measured(mixed_pairs)
    lost = sum(pair.prompt[0].content[9] in "02468" for pair in mixed_pairs)
    assert (found.ties, found.agreement.unscored, found.flips.unscored, found.length.unscored) == (
        0,
        lost,
        lost,
        lost,
    )
    assert found.agreement.value == 1
    assert found.unparsed.value == pytest.approx(lost / 160)
    assert reliability_check(found, RULE).verdict == "fail"
    endpoint.say = lambda question: reply_with(question, "tie")
    assert (measured(mixed_pairs).ties, measured(mixed_pairs).flips.value) == (80, 0)


@pytest.mark.requirement("E9")
def test_too_few_labels_are_no_pass(measured, endpoint, prefer, make_pairs):
    endpoint.say = prefer(right)
    verdict = reliability_check(measured(make_pairs(4)), RULE)
    assert verdict.verdict == "inconclusive"
    assert "Label more items" in verdict.remedy
    nothing = reliability_check(reliability_of_rewards("r", [], {}, [], 0.95), RULE)
    assert (nothing.name, nothing.verdict) == ("judge-reward-model", "error")


def interval(low, value, high):
    return Estimate(value=value, low=low, high=high, level=0.95, n=40, unscored=0, method="by hand")


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(
    ("agreement", "verdict"),
    [
        ((0.6, 0.7, 0.8), "pass"),
        ((0.59, 0.7, 0.8), "inconclusive"),
        ((0.5, 0.55, 0.6), "inconclusive"),
        ((0.5, 0.55, 0.59), "fail"),
    ],
)
def test_agreement_is_judged_by_the_bounds_of_its_interval(agreement, verdict):
    """At least 60 %: passes when the lower bound reaches it, fails when the upper one does not."""
    judge = JudgeReliability(
        judge="llm", identity="j", items=40, agreement=interval(*agreement), ceiling=None, slices={}
    )
    assert reliability_check(judge, RULE).verdict == verdict


@pytest.mark.requirement("E9")
@pytest.mark.parametrize("share", ["flips", "courtesy"])
@pytest.mark.parametrize(
    ("bounds", "verdict"),
    [
        ((0.0, 0.1, 0.2), "pass"),
        ((0.0, 0.1, 0.21), "inconclusive"),
        ((0.2, 0.3, 0.4), "inconclusive"),
        ((0.21, 0.3, 0.4), "fail"),
    ],
)
def test_what_turns_a_verdict_is_judged_by_the_bounds_of_its_interval(share, bounds, verdict):
    """At most 20 %: passes when the upper bound is no higher, fails when the lower one is."""
    judge = JudgeReliability(
        judge="llm",
        identity="j",
        items=40,
        agreement=interval(0.9, 0.95, 1.0),
        ceiling=None,
        slices={},
        **{share: interval(*bounds)},
    )
    assert reliability_check(judge, RULE).verdict == verdict


@pytest.mark.requirement("E9")
@pytest.mark.parametrize(("high", "verdict"), [(0.49, "fail"), (0.5, "pass")])
@pytest.mark.parametrize("which", ["longer", "shorter"])
def test_length_fails_a_judge_that_is_worse_than_chance_for_certain(which, high, verdict):
    judge = JudgeReliability(
        judge="llm",
        identity="j",
        items=40,
        agreement=interval(0.9, 0.95, 1.0),
        ceiling=None,
        slices={},
        **{which: interval(0.1, 0.3, high)},
    )
    assert reliability_check(judge, RULE).verdict == verdict


@pytest.mark.requirement("E9")
def test_the_reward_model_is_a_judge_like_any_other(make_pairs):
    """12 right, 4 wrong, 2 ties, 2 that the model never saw: agreement 12 / 16."""
    pairs = make_pairs(20)
    rewards = [(1.0, 0.0)] * 12 + [(0.0, 1.0)] * 4 + [(0.5, 0.5)] * 2
    found = reliability_of_rewards(
        "digest",
        pairs,
        {
            pair.id: Rewards(chosen=a, rejected=b)
            for pair, (a, b) in zip(pairs, rewards, strict=False)
        },
        [],
        0.95,
    )
    assert (found.agreement.value, found.agreement.n, found.agreement.unscored, found.ties) == (
        0.75,
        16,
        4,
        2,
    )
    assert (found.length.wins, found.length.losses, found.length.ties, found.length.unscored) == (
        12,
        4,
        2,
        2,
    )
    assert found.flips is None  # it sees one response at a time, so there is no order


def test_the_pairs_that_a_judge_sees_do_not_depend_on_their_order(make_pairs):
    pairs = make_pairs(30)
    assert (
        sample_pairs(pairs, 10, 7) == sample_pairs(pairs[::-1], 10, 7) != sample_pairs(pairs, 10, 8)
    )
    assert sample_pairs(pairs * 2, 99, 7) == sample_pairs(pairs, 30, 7)


def test_made_courteous_keeps_the_content_and_adds_courtesies():
    assert "the answer" in made_courteous("the answer")
    assert courtesies(made_courteous("the answer")) >= 4 > courtesies("the answer") == 0


@pytest.fixture
def tulu(data_folder):
    """The decided judgments of a week: one pair for each, the better response as a person said."""
    attribution = Attribution(
        rubric="helpful-harmless@1", consent_version="public-dataset", approved_by="test"
    )
    days = import_feedback(
        data_folder, SourceFile(format="tulu", path="tulu1-human-feedback"), attribution
    )
    return [
        event
        for event in itertools.chain.from_iterable(day.items for day in days.values())
        if event.winner is not None
    ]


@pytest.mark.requirement("E9")
def test_agreement_with_the_people_of_tulu_stands_beside_how_far_they_agree(tulu, endpoint, prefer):
    """A judge that takes the longer response agrees with people where the longer response is the
    better one, and nowhere else.

    The ceiling is computed from every judgment that another person made too: 88 of the 120
    judgments in 60 pairs without a tie (44 pairs agree).
    """
    pairs = []
    for event in tulu[:150]:
        worse = event.responses[1 - event.judgment.preferred].text
        pairs.append(
            JudgedPair(
                id=event.id,
                prompt=event.prompt,
                chosen=event.winner,
                rejected=worse,
                subset=event.context.slice,
            )
        )
    endpoint.say = prefer(len)
    replies = ask_all(questions_about(pairs), endpoint.rule(concurrency=16))
    found = reliability_of_replies("longer", pairs, replies, tulu, 0.95)
    expected = [
        len(pair.chosen) > len(pair.rejected)
        for pair in pairs
        if len(pair.chosen) != len(pair.rejected)
    ]
    assert found.agreement.value == pytest.approx(sum(expected) / len(expected))
    assert found.agreement.n + found.ties == len(pairs) == 150
    assert found.flips.value == 0
    assert (round(found.ceiling.value * found.ceiling.n), found.ceiling.n) == (88, 120)
    assert (
        reliability_check(found, JudgesConfig(min_agreement=0.9, max_flips=0.2)).verdict == "fail"
    )
