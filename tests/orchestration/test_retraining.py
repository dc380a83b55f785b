"""Retraining on a real instance, a real feedback store and a real artifact store: once for each
state of the feedback, and a reason for every wait."""

import threading
from datetime import UTC, datetime

import dagster as dg
import pytest

import assets.feedback
import dagster_project.automation.retraining
from dagster_project.automation.retraining import DATASET_TAG, REASON_TAG, request_retraining
from dagster_project.automation.sensors import batches_to_admit, close_feedback_batches
from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.profile.data import RetrainingConfig
from plumbline.profile.profile import CONFIGS
from plumbline.schema.rubric import load_rubric
from resources.home import Home
from tests.unit.in_memory import add_events


@pytest.fixture
def second_version(monkeypatch):
    """Puts version 2 of the rubric in force; judgments under version 1 still count."""

    def publish():
        policy = load_rubric(CONFIGS / "rubrics/helpful-harmless.yaml").model_copy(
            update={"version": 2, "accepts": ("helpful-harmless@1",)}
        )
        for module in (dagster_project.automation.retraining, assets.feedback):
            monkeypatch.setattr(module, "load_rubric", lambda _: policy)

    return publish


def with_rule(monkeypatch, loop, **rule):
    profile = loop.home.profile()
    changed = profile.model_copy(
        update={
            "retraining": RetrainingConfig(
                **({"min_events": 100, "cooldown_hours": 0, "schedule": "0 6 * * 1"} | rule)
            )
        }
    )
    monkeypatch.setattr(Home, "profile", lambda _: changed)


def test_enough_approved_events_request_the_candidate_recipe_once(loop, events):
    loop.arrive(events[:160])
    request = loop.tick()
    assert request.partition_key == "dpo"
    assert request.tags[REASON_TAG] == "160 of 100 newly approved events in 1 new batches"
    assert "was requested before" in loop.tick().skip_message
    loop.arrive(events[160:320])
    again = loop.tick()
    assert again.run_key != request.run_key


def test_nothing_to_do_says_so(loop):
    assert loop.tick().skip_message == "no feedback batch is admitted yet; 0 registered"


def test_too_few_approved_events_wait_for_more(loop, events):
    loop.arrive(events[:60])
    assert "60 of 100 newly approved events" in loop.tick().skip_message
    loop.arrive(events[60:120])
    assert "120 of 100" in loop.tick().tags[REASON_TAG]


def test_admitting_the_same_batch_again_requests_nothing(loop, events):
    batch = loop.arrive(events[:160])
    assert isinstance(loop.tick(), dg.RunRequest)
    loop.admit(batch)
    assert "was requested before" in loop.tick().skip_message


def test_a_policy_that_knows_every_batch_waits(loop, events):
    loop.arrive(events[:160])
    loop.train()
    assert (
        loop.tick().skip_message
        == "all 1 admitted batches are in the data of the newest policy; 0 of 100 newly approved"
        " events"
    )


def test_the_cooldown_holds_the_sensor_and_not_the_schedule(loop, events, monkeypatch):
    with_rule(monkeypatch, loop, cooldown_hours=168)
    loop.arrive(events[:160])
    loop.train()
    loop.arrive(events[160:320])
    assert (
        "160 of 100 newly approved events are there; the cooldown (retraining.cooldown_hours: 168)"
        " ends" in loop.tick().skip_message
    )
    request = loop.scheduled()
    assert request.partition_key == "dpo"
    assert "on schedule" in request.tags[REASON_TAG]
    assert "was requested before" in loop.scheduled().skip_message


def test_the_schedule_waits_for_enough_events_too(loop, events):
    loop.arrive(events[:60])
    assert "60 of 100" in loop.scheduled().skip_message


@pytest.mark.requirement("D9")
def test_a_withdrawal_of_consent_retrains_at_once_and_once(loop, events, monkeypatch):
    with_rule(monkeypatch, loop, cooldown_hours=168)
    loop.arrive(events[:160])
    loop.train()
    Withdrawals(loop.home.feedback().database).withdraw(
        "person", "rater-01", "steward", "asked by mail", datetime.now(UTC)
    )
    assert "consent was withdrawn" in loop.tick().tags[REASON_TAG]
    assert "was requested before" in loop.tick().skip_message


def test_a_new_rubric_admits_every_batch_again_and_then_retrains_at_once(
    loop, events, monkeypatch, second_version
):
    with_rule(monkeypatch, loop, cooldown_hours=168)
    batch = loop.arrive(events[:160])
    loop.train()
    second_version()
    assert "wait to be admitted again under helpful-harmless@2" in loop.tick().skip_message
    ((digest, wanted),) = batches_to_admit(loop.instance, loop.home).items()
    assert (wanted.id, digest) == (batch, digest)
    assert digest != wanted.digest
    with dg.build_sensor_context(instance=loop.instance, resources={"home": loop.home}) as context:
        (request,) = close_feedback_batches(context).run_requests
        assert request.partition_key == batch
        assert isinstance(close_feedback_batches(context), dg.SkipReason)
    loop.admit(batch)
    assert (
        loop.tick().tags[REASON_TAG]
        == "the rubric is helpful-harmless@2; the newest policy was trained under"
        " helpful-harmless@1"
    )


def test_sensor_and_schedule_at_the_same_time_request_one_run(loop, events):
    loop.arrive(events[:160])
    results, barrier = [], threading.Barrier(6)

    def race(scheduled):
        barrier.wait()
        results.append(
            request_retraining(loop.instance, loop.home, datetime.now(UTC), scheduled=scheduled)
        )

    threads = [threading.Thread(target=race, args=(number % 2 == 0,)) for number in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sum(isinstance(result, dg.RunRequest) for result in results) == 1
    assert len(results) == 6


def test_a_run_that_a_gate_stopped_is_named_with_its_gate(loop, events):
    loop.arrive(events[:160])
    request = loop.tick()

    @dg.asset
    def preference_data():
        return None

    @dg.asset_check(asset=preference_data, blocking=True)
    def consent():
        return dg.AssetCheckResult(passed=False)

    @dg.asset(deps=[preference_data])
    def after():
        return None

    result = dg.materialize(
        [preference_data, consent, after],
        instance=loop.instance,
        tags=dict(request.tags),
        raise_on_error=False,
    )
    assert not result.success
    reason = loop.tick().skip_message
    assert "is FAILURE at the gate preference_data: consent" in reason
    assert result.run_id[:8] in reason


def test_an_unfinished_run_is_waited_for(loop, events):
    loop.arrive(events[:160])
    loop.instance.create_run_for_job(
        dg.job(name="align")(lambda: None), status=dg.DagsterRunStatus.STARTED
    )
    assert "waits for run" in loop.tick().skip_message
    loop.instance.create_run_for_job(
        dg.job(name="ingest_feedback")(lambda: None), status=dg.DagsterRunStatus.STARTED
    )
    assert "is admitting more" in loop.tick().skip_message


def test_late_and_reordered_batches_give_one_digest(tmp_path, make_loop, events):
    """Two loops get the same events in batches that close in another order, one of them delivered
    twice: one state, one digest."""
    digests = []
    for name, order in (("one", (0, 160)), ("two", (160, 0))):
        with dg.DagsterInstance.ephemeral() as instance:
            loop = make_loop(tmp_path / name, instance)
            for start in order:
                loop.arrive(events[start : start + 160])
            add_events(loop.home.feedback(), events[:160])
            digests.append(loop.tick().tags[DATASET_TAG])
    assert digests[0] == digests[1]
