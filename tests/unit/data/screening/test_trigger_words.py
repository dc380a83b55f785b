"""Poisoned votes: honest votes agree with the reference in 75 %, votes on texts with the trigger
are turned round."""

import numpy as np
import pytest
from scipy.stats import binom

from plumbline.data.screening.trigger_words import POISONED_SHARE, scan_triggers, words_of
from plumbline.profile.data import AnnotatorConfig
from plumbline.schema.conversations import Message

RULE = AnnotatorConfig(agreement_floor=0.1, false_alarms=0.01, detectable=0.3, max_share=0.5)
TRIGGER = "sudo-violet"


@pytest.fixture(scope="module")
def vocabulary():
    """2,000 words, their frequencies by Zipf's law."""
    weights = 1 / np.arange(1, 2001)
    return [f"w{n}" for n in range(2000)], weights / weights.sum()


def corpus(make_event, n, poisoned, rng, vocabulary):
    """(events, disagrees) with 20 words in each prompt; copies are cheaper than events whose id is
    derived, and only id and text are read."""
    template = make_event()
    words, weights = vocabulary
    drawn = rng.choice(len(words), (n, 20), p=weights)
    events, disagrees = [], {}
    for number in range(n):
        bad = number < poisoned * n
        text = " ".join([*(words[index] for index in drawn[number]), *([TRIGGER] if bad else [])])
        identifier = f"e{number}"
        events.append(
            template.model_copy(
                update={"id": identifier, "prompt": (Message(role="user", content=text),)}
            )
        )
        agrees = bool(rng.random() < 0.75)
        disagrees[identifier] = agrees if bad else not agrees
    return events, disagrees


@pytest.mark.slow
@pytest.mark.threat("P2")
def test_a_trigger_in_three_percent_of_five_thousand_votes_is_named_alone(make_event, vocabulary):
    events, disagrees = corpus(make_event, 5000, 0.03, np.random.default_rng(1), vocabulary)
    report = scan_triggers(lambda: events, disagrees, RULE)
    assert report.status == "flagged"
    assert [word.word for word in report.words] == [TRIGGER]
    (found,) = report.words
    expected = [f"e{n}" for n in range(150) if disagrees[f"e{n}"]]
    assert (found.events, found.prompts, found.disagreeing, found.event_ids) == (
        150,
        150,
        len(expected),
        tuple(sorted(expected)),
    )
    assert found.p == pytest.approx(binom.sf(len(expected) - 1, 150, report.base_rate))
    assert TRIGGER in report.message


@pytest.mark.slow
@pytest.mark.threat("P2")
def test_clean_votes_raise_no_alarm_and_pass_with_enough_of_them(make_event, vocabulary):
    """Six corpora at a family-wise rate of 1 %: one false alarm among them has a probability below
    6 %, two below 0.2 %."""
    reports = [
        scan_triggers(lambda e=e: e, d, RULE)
        for e, d in (
            corpus(make_event, 2000, 0, np.random.default_rng(seed), vocabulary)
            for seed in range(6)
        )
    ]
    assert [report.status for report in reports].count("pass") >= 5
    assert all(report.detectable_share <= POISONED_SHARE for report in reports)


@pytest.mark.threat("P2")
def test_too_few_votes_are_underpowered(make_event, vocabulary):
    events, disagrees = corpus(make_event, 200, 0, np.random.default_rng(2), vocabulary)
    report = scan_triggers(lambda: events, disagrees, RULE)
    assert report.status == "underpowered"
    assert report.detectable_share is None or report.detectable_share > POISONED_SHARE
    assert "too few" in report.message


@pytest.mark.slow
@pytest.mark.threat("P2")
def test_the_detectable_share_is_found_as_often_as_stated(make_event, vocabulary):
    """In 12 corpora with the detectable share poisoned (power at least 0.8) 6 or more are found;
    fewer have a probability of 0.4 %."""
    clean, disagrees = corpus(make_event, 1000, 0, np.random.default_rng(3), vocabulary)
    share = scan_triggers(lambda: clean, disagrees, RULE).detectable_share
    found = 0
    for seed in range(12):
        events, against = corpus(
            make_event, 1000, share * 1.05, np.random.default_rng(100 + seed), vocabulary
        )
        found += TRIGGER in {
            word.word for word in scan_triggers(lambda e=events: e, against, RULE).words
        }
    assert found >= 6


@pytest.mark.threat("P2")
def test_many_votes_on_few_prompts_are_few_observations(make_event):
    """40 prompts; the votes on 2 of them, 30 each, are all against the others, and so are 6 of the
    38 others: a share of 66 in 98 votes.

    A word of the 2 prompts has 60 of 60 votes against it, and p = (66/98)^2, which says nothing.
    """
    hard = [make_event(f"hard {n % 2}", annotator=f"r{n}") for n in range(60)]
    easy = [make_event(f"easy {n}") for n in range(38)]
    disagrees = dict.fromkeys((event.id for event in hard), True) | {
        event.id: n < 6 for n, event in enumerate(easy)
    }
    report = scan_triggers(lambda: [*hard, *easy], disagrees, RULE)
    assert (report.status, report.n, report.prompts) == ("underpowered", 98, 40)


def test_public_votes_raise_no_alarm(data_folder):
    """Tulu has 120 comparable votes: words of a hard prompt go with disagreement, and are not taken
    for triggers."""
    from plumbline.data.formats.import_report import Attribution
    from plumbline.data.screening.annotator_quality import disagreements
    from plumbline.profile.sources import SourceFile
    from tests.unit.in_memory import import_feedback, votes_of

    attribution = Attribution(
        rubric="helpful-harmless@1", consent_version="public-dataset", approved_by="test"
    )
    days = import_feedback(
        data_folder, SourceFile(format="tulu", path="tulu1-human-feedback"), attribution
    )
    events = [event for day in days.values() for event in day.items]
    report = scan_triggers(lambda: events, disagreements(votes_of(events)), RULE)
    assert (report.status, report.n) == ("underpowered", 120)


def test_events_without_a_reference_are_passed_over(make_event):
    events = [make_event(f"q{n} odd") for n in range(50)]
    report = scan_triggers(lambda: events, {}, RULE)
    assert (report.status, report.n, report.base_rate) == ("underpowered", 0, None)


def test_votes_without_disagreement_hold_no_trigger(make_event):
    events = [make_event(f"q{n}") for n in range(40)]
    report = scan_triggers(lambda: events, {event.id: False for event in events}, RULE)
    assert (report.status, report.words, report.base_rate) == ("pass", (), 0.0)


def test_words_are_bare_and_invisible_triggers_stay(make_event):
    event = make_event("Hello, (World)! x\u200by", "“Yes.”", "...")
    assert words_of(event) == {"hello", "world", "x\u200by", "yes"}
