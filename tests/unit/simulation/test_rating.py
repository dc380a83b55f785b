"""Traffic that drifts, and annotators who rate what a policy says on it: the policy is replaced by
one whose answers are known."""

from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest

import plumbline.simulation.rating
from plumbline.data.sources import sandbox_options
from plumbline.profile.profile import load_profile
from plumbline.sandbox.datasets import SandboxOptions
from plumbline.sandbox.responses import refusal
from plumbline.sandbox.traffic import PROMPTS_PER_DAY, second_language_share, traffic
from plumbline.sandbox.world import is_held_out, read_prompt
from plumbline.simulation.rating import RatedPolicy, rate_days
from plumbline.simulation.rollouts import SampledResponses

END = datetime(2026, 3, 4, tzinfo=UTC)
POLICY = RatedPolicy(
    digest="sha256:" + "0" * 64, folder="/nowhere", chat_template="sha256:" + "1" * 64
)


def test_the_share_of_the_second_language_grows_evenly_to_its_end():
    """From 0.2 to 0.8 in three days: 0.2 + 0.6 / 3 a day. Where it is higher already, it stays."""
    options = SandboxOptions(pair_languages=(0.8, 0.2))
    assert [round(second_language_share(options, day, 3), 9) for day in (1, 2, 3)] == [
        0.4,
        0.6,
        0.8,
    ]
    assert second_language_share(SandboxOptions(pair_languages=(0.1, 0.9)), 2, 3) == 0.9


def test_traffic_drifts_and_never_asks_what_is_held_out():
    """1,080 prompts a day, shares 0.4 and 0.8: the standard deviation of a day's share is at most
    0.015."""
    days = traffic(SandboxOptions(seed=3, pair_languages=(1.0, 0.0)), 2, "seed")
    assert [len(day) for day in days] == [PROMPTS_PER_DAY] * 2
    for day, share in zip(days, (0.4, 0.8), strict=True):
        assert sum(scene.language == "es" for scene in day) / len(day) == pytest.approx(
            share, abs=0.06
        )
    assert not any(is_held_out(scene.intent, 3) for day in days for scene in day)
    assert traffic(SandboxOptions(seed=3, pair_languages=(1.0, 0.0)), 2, "seed") == days
    assert traffic(SandboxOptions(seed=3, pair_languages=(1.0, 0.0)), 2, "another") != days


@pytest.fixture
def rated(monkeypatch):
    """Two days of a policy that refuses once and answers once, and says the same twice to every
    tenth prompt."""

    def answer(rollouts):
        rated.rollouts = rollouts
        found = []
        for number, prompt in enumerate(rollouts.prompts):
            _, language = read_prompt(prompt[-1].content)
            no = refusal(language)
            found.append(
                SampledResponses(
                    texts=(no, no if number % 10 == 0 else "use vinegar and a sponge.")
                )
            )
        return found

    monkeypatch.setattr(plumbline.simulation.rating, "sample_rollouts", answer)

    def rated(end=END):
        profile = load_profile("tiny")
        return list(rate_days(profile, sandbox_options(profile, profile.source), POLICY, 2, end))

    return rated


@pytest.mark.requirement("D5")
@pytest.mark.requirement("D14")
def test_every_judgment_names_policy_template_and_decoder_and_that_no_person_made_it(rated):
    for event in (event for day in rated() for event in day.events):
        assert {response.source.policy for response in event.responses} == {POLICY.digest}
        assert {response.source.chat_template for response in event.responses} == {
            POLICY.chat_template
        }
        assert [response.source.decoder for response in event.responses] == list(
            rated.rollouts.decoders
        )
        assert event.synthetic
    first, second = rated.rollouts.decoders
    assert first.seed != second.seed


def test_prompts_with_one_and_the_same_response_are_counted_and_not_judged(rated):
    days = rated()
    assert [day.same for day in days] == [108, 108]
    judged = [len({(event.prompt[-1].content, event.time) for event in day.events}) for day in days]
    assert judged == [PROMPTS_PER_DAY - 108] * 2


def test_days_follow_each_other_and_end_at_the_end(rated):
    first, second = rated()
    assert (first.start, second.start) == (END - timedelta(days=2), END - timedelta(days=1))
    assert all(first.start <= event.time < second.start for event in first.events)
    assert all(second.start <= event.time < END for event in second.events)


def test_annotators_prefer_refusing_what_is_harmful(rated):
    """A refusal of a harmful request is worth 1.0, any answer -2.0: at a sharpness of 3 almost
    every vote is for the refusal."""
    votes = Counter(
        event.judgment.preferred
        for day in rated()
        for event in day.events
        if event.context.slice.startswith("harm") and event.context.locale == "en"
    )
    assert votes[0] > 0.9 * sum(votes.values())


def test_the_same_arguments_give_the_same_judgments(rated):
    assert rated() == rated()
    assert {event.id for day in rated() for event in day.events}.isdisjoint(
        {event.id for day in rated(END + timedelta(days=5)) for event in day.events}
    )
