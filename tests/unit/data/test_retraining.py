"""The retraining rule: at once for a rubric or a withdrawal, else by count and cooldown, and every
wait says what is missing."""

from datetime import UTC, datetime, timedelta

import pytest

from plumbline.data.retraining import (
    AdmittedBatch,
    Feedback,
    Retrain,
    TrainedOn,
    Wait,
    decide_retraining,
)
from plumbline.profile.data import RetrainingConfig

NOW = datetime(2026, 3, 2, 12, tzinfo=UTC)
RULE = RetrainingConfig(min_events=100, cooldown_hours=168, schedule="0 6 * * 1")
NONE, ONE = "sha256:none", "sha256:one"


def batch(tree, approved=60, rubric="test@1"):
    return AdmittedBatch(tree, approved, rubric)


def trained(batches, *, rubric="test@1", withdrawals=NONE, ago=200):
    return TrainedOn(batches, rubric, withdrawals, NOW - timedelta(hours=ago))


def feedback(admitted, **fields):
    return Feedback(
        **{
            "admitted": admitted,
            "rubric": "test@1",
            "withdrawals": NONE,
            "registered": len(admitted),
            **fields,
        }
    )


def decided(*arguments, **options):
    decision = decide_retraining(*arguments, now=NOW, **options)
    return type(decision), decision.reason


def test_without_an_admitted_batch_it_waits():
    assert decided(feedback({}, registered=2), RULE) == (
        Wait,
        "no feedback batch is admitted yet; 2 registered",
    )


def test_too_few_approved_events_wait_with_the_count():
    """60 accepted events are new; 'b' is known with the same tree and does not count."""
    state = feedback({"a": batch("1"), "b": batch("2")}, trained=trained({"b": "2"}))
    assert decided(state, RULE) == (
        Wait,
        "60 of 100 newly approved events (retraining.min_events); 1 of 2 admitted batches are new",
    )


def test_enough_approved_events_retrain():
    """60 + 60 = 120 new events of two batches."""
    assert decided(feedback({"a": batch("1"), "b": batch("2")}), RULE) == (
        Retrain,
        "120 of 100 newly approved events in 2 new batches",
    )


def test_exactly_the_number_is_enough_and_one_less_is_not():
    assert decided(feedback({"a": batch("1", 100)}), RULE)[0] is Retrain
    assert decided(feedback({"a": batch("1", 99)}), RULE)[0] is Wait


def test_nothing_new_waits():
    kind, reason = decided(feedback({"a": batch("1")}, trained=trained({"a": "1"})), RULE)
    assert (kind, reason) == (
        Wait,
        (
            "all 1 admitted batches are in the data of the newest policy; 0 of 100 newly approved"
            " events"
        ),
    )


def test_a_batch_that_was_admitted_anew_counts_again():
    assert (
        decided(feedback({"a": batch("another", 150)}, trained=trained({"a": "1"})), RULE)[0]
        is Retrain
    )


def test_the_cooldown_waits_until_its_end_and_says_when():
    """Trained 100 h ago, cooldown 168 h: 68 h remain, from 2 March 12:00 to 5 March 08:00."""
    state = feedback({"a": batch("1", 150)}, trained=trained({}, ago=100))
    kind, reason = decided(state, RULE)
    assert kind is Wait
    assert (
        reason
        == "150 of 100 newly approved events are there; the cooldown (retraining.cooldown_hours:"
        " 168) ends 2026-03-05 08:00 UTC"
    )


def test_the_cooldown_ends():
    assert (
        decided(feedback({"a": batch("1", 150)}, trained=trained({}, ago=168)), RULE)[0] is Retrain
    )


def test_the_schedule_does_not_wait_for_the_cooldown_but_for_the_count():
    young = trained({}, ago=1)
    assert decided(feedback({"a": batch("1", 150)}, trained=young), RULE, scheduled=True) == (
        Retrain,
        "150 of 100 newly approved events in 1 new batches, on schedule",
    )
    assert decided(feedback({"a": batch("1", 5)}, trained=young), RULE, scheduled=True)[0] is Wait


@pytest.mark.parametrize("ago", [0, 500], ids=["in-the-cooldown", "after-it"])
def test_a_new_rubric_retrains_at_once(ago):
    state = feedback(
        {"a": batch("2", 5, "test@2")}, rubric="test@2", trained=trained({"a": "1"}, ago=ago)
    )
    assert decided(state, RULE) == (
        Retrain,
        "the rubric is test@2; the newest policy was trained under test@1",
    )


def test_a_new_rubric_waits_until_every_batch_is_admitted_under_it():
    state = feedback(
        {"a": batch("2", 5, "test@2"), "b": batch("1")},
        rubric="test@2",
        trained=trained({"a": "1", "b": "1"}),
    )
    assert decided(state, RULE) == (
        Wait,
        (
            "1 of 2 batches wait to be admitted again under test@2: another rubric judged them, or"
            " text was erased"
        ),
    )


@pytest.mark.threat("C3")
def test_an_erased_batch_is_admitted_again_before_anything_is_trained():
    state = feedback(
        {"a": AdmittedBatch("1", 150, "test@1", erased=True), "b": batch("2", 150)},
        withdrawals=ONE,
        trained=trained({"a": "1"}),
    )
    assert decided(state, RULE)[0] is Wait
    assert set(state.stale) == {"a"}


@pytest.mark.requirement("D9")
def test_a_withdrawal_retrains_at_once():
    state = feedback({"a": batch("1")}, withdrawals=ONE, trained=trained({"a": "1"}, ago=0))
    assert decided(state, RULE) == (
        Retrain,
        "consent was withdrawn since the data of the newest policy was built",
    )


def test_a_withdrawal_that_is_in_the_data_already_does_not_retrain_again():
    assert (
        decided(
            feedback(
                {"a": batch("1")}, withdrawals=ONE, trained=trained({"a": "1"}, withdrawals=ONE)
            ),
            RULE,
        )[0]
        is Wait
    )


def test_the_digest_is_that_of_the_set():
    """The order in which batches came, and the time of the newest policy, change nothing; a batch,
    the rubric and a withdrawal do."""
    one, two = batch("1"), batch("2")
    reference = feedback({"a": one, "b": two}).digest("profile")
    assert (
        feedback({"b": two, "a": one}, trained=trained({"a": "1"})).digest("profile") == reference
    )
    others = [
        feedback({"a": one}),
        feedback({"a": one, "b": two}, rubric="test@2"),
        feedback({"a": one, "b": two}, withdrawals=ONE),
    ]
    digests = {other.digest("profile") for other in others} | {
        feedback({"a": one, "b": two}).digest("another")
    }
    assert len(digests) == 4
    assert reference not in digests
