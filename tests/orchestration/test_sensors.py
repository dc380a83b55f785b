"""The feedback loop's sensors on a real instance and a real feedback store: once, never twice, and a reason when nothing is done."""

import threading
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from assets.feedback import feedback
from assets.partitions import feedback_batches
from dagster_project import sensors
from dagster_project.sensors import BATCH_TAG, close_feedback_batches, retrain_on_feedback
from plumbline.data.source import sandbox_options
from plumbline.sandbox.records import feedback_events
from resources.home import Home


@pytest.fixture
def home(tmp_path):
    return Home(root=str(tmp_path / "home"), profile_name="tiny")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as one:
        yield one


@pytest.fixture(scope="module")
def events():
    profile = Home(root="unused", profile_name="tiny").profile()
    return list(feedback_events(sandbox_options(profile, profile.source)))


def tick(sensor, instance, home):
    with dg.build_sensor_context(instance=instance, resources={"home": home}) as context:
        result = sensor(context)
    if isinstance(result, dg.SensorResult):
        for request in result.dynamic_partitions_requests or []:
            instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
    return result


def admit(instance, home, batch):
    return dg.materialize([feedback], instance=instance, resources={"home": home}, partition_key=batch, raise_on_error=True)


def test_nothing_to_do_says_so(instance, home):
    assert "no open feedback" in tick(close_feedback_batches, instance, home).skip_message
    assert "no feedback batch is admitted yet" in tick(retrain_on_feedback, instance, home).skip_message


def test_too_few_events_say_how_many_are_needed(instance, home, events):
    home.feedback().add(events[:7])
    assert "7 of 160 events needed" in tick(close_feedback_batches, instance, home).skip_message


def test_a_full_batch_is_requested_once(instance, home, events):
    home.feedback().add(events[:160])
    result = tick(close_feedback_batches, instance, home)
    (request,) = result.run_requests
    (batch,) = home.feedback().batches()
    assert request.partition_key == batch.id
    assert request.tags == {BATCH_TAG: batch.digest}
    assert instance.get_dynamic_partitions(feedback_batches.name) == [batch.id]
    assert isinstance(tick(close_feedback_batches, instance, home), dg.SkipReason)


def test_an_old_batch_closes_by_age(instance, home, events):
    home.feedback().add(events[:3], received_at=datetime.now(UTC) - timedelta(hours=25))
    assert len(tick(close_feedback_batches, instance, home).run_requests) == 1


def test_late_and_repeated_deliveries_change_nothing(instance, home, events):
    home.feedback().add(reversed(events[:160]))
    tick(close_feedback_batches, instance, home)
    home.feedback().add(events[:160])
    assert "no open feedback" in tick(close_feedback_batches, instance, home).skip_message


def test_ticks_at_the_same_time_request_one_run(instance, home, events):
    home.feedback().add(events[:320])
    results, barrier = [], threading.Barrier(6)

    def race():
        barrier.wait()
        results.append(tick(close_feedback_batches, instance, home))

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    requested = [request.partition_key for result in results if isinstance(result, dg.SensorResult) for request in result.run_requests]
    assert sorted(requested) == sorted(batch.id for batch in home.feedback().batches())
    assert len(requested) == 2


def test_a_request_that_was_lost_is_made_again(instance, home, events, monkeypatch):
    """The daemon died between the claim and the run: after a while the batch is requested again, and then not a third time."""
    home.feedback().add(events[:160])
    assert tick(close_feedback_batches, instance, home).run_requests
    monkeypatch.setattr(sensors, "LOST_AFTER", timedelta(0))
    assert tick(close_feedback_batches, instance, home).run_requests
    (batch,) = home.feedback().batches()
    instance.create_run_for_job(dg.job(name="ingest_feedback")(lambda: None), tags={BATCH_TAG: batch.digest})
    assert isinstance(tick(close_feedback_batches, instance, home), dg.SkipReason)


def test_an_admitted_batch_requests_the_candidate_recipe_once(instance, home, events):
    home.feedback().add(events[:320])
    tick(close_feedback_batches, instance, home)
    first, second = (batch.id for batch in home.feedback().batches())
    admit(instance, home, first)
    (request,) = tick(retrain_on_feedback, instance, home).run_requests
    assert request.partition_key == "dpo"
    assert "was requested before" in tick(retrain_on_feedback, instance, home).skip_message
    admit(instance, home, second)
    (again,) = tick(retrain_on_feedback, instance, home).run_requests
    assert again.run_key != request.run_key


def test_admitting_the_same_batch_again_requests_nothing(instance, home, events):
    home.feedback().add(events[:160])
    tick(close_feedback_batches, instance, home)
    (batch,) = home.feedback().batches()
    admit(instance, home, batch.id)
    assert tick(retrain_on_feedback, instance, home).run_requests
    admit(instance, home, batch.id)
    assert "was requested before" in tick(retrain_on_feedback, instance, home).skip_message
