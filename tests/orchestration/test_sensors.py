"""The feedback loop's sensors on a real instance and a real feedback store: once, never twice, and
a reason when nothing is done."""

import threading
from datetime import UTC, datetime, timedelta

import dagster as dg
import pytest

from assets.lineage.partitions import feedback_batches
from dagster_project.automation import run_requests
from dagster_project.automation.sensors import BATCH_TAG, close_feedback_batches, collect_inbox
from resources.home import Home
from tests.unit.in_memory import add_events


@pytest.fixture
def home(tmp_path):
    return Home(root=str(tmp_path / "home"), profile_name="tiny")


@pytest.fixture
def instance():
    with dg.DagsterInstance.ephemeral() as one:
        yield one


def tick(sensor, instance, home):
    with dg.build_sensor_context(instance=instance, resources={"home": home}) as context:
        result = sensor(context)
    if isinstance(result, dg.SensorResult):
        for request in result.dynamic_partitions_requests or []:
            instance.add_dynamic_partitions(
                request.partitions_def_name, list(request.partition_keys)
            )
    return result


def test_nothing_to_do_says_so(instance, home):
    assert "no open feedback" in tick(close_feedback_batches, instance, home).skip_message


def test_too_few_events_say_how_many_are_needed(instance, home, events):
    add_events(home.feedback(), events[:7])
    assert "7 of 160 events needed" in tick(close_feedback_batches, instance, home).skip_message


def test_a_full_batch_is_requested_once(instance, home, events):
    add_events(home.feedback(), events[:160])
    result = tick(close_feedback_batches, instance, home)
    (request,) = result.run_requests
    (batch,) = home.feedback().batches()
    assert request.partition_key == batch.id
    assert request.tags == {BATCH_TAG: batch.digest}
    assert instance.get_dynamic_partitions(feedback_batches.name) == [batch.id]
    assert isinstance(tick(close_feedback_batches, instance, home), dg.SkipReason)


def test_an_old_batch_closes_by_age(instance, home, events):
    add_events(home.feedback(), events[:3], datetime.now(UTC) - timedelta(hours=25))
    assert len(tick(close_feedback_batches, instance, home).run_requests) == 1


def test_late_and_repeated_deliveries_change_nothing(instance, home, events):
    add_events(home.feedback(), reversed(events[:160]))
    tick(close_feedback_batches, instance, home)
    add_events(home.feedback(), events[:160])
    assert "no open feedback" in tick(close_feedback_batches, instance, home).skip_message


def test_ticks_at_the_same_time_request_one_run(instance, home, events):
    add_events(home.feedback(), events[:320])
    results, barrier = [], threading.Barrier(6)

    def race():
        barrier.wait()
        results.append(tick(close_feedback_batches, instance, home))

    threads = [threading.Thread(target=race) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    requested = [
        request.partition_key
        for result in results
        if isinstance(result, dg.SensorResult)
        for request in result.run_requests
    ]
    assert sorted(requested) == sorted(batch.id for batch in home.feedback().batches())
    assert len(requested) == 2


def test_a_request_that_was_lost_is_made_again(instance, home, events, monkeypatch):
    """The daemon died between the claim and the run: after a while the batch is requested again,
    and then not a third time."""
    add_events(home.feedback(), events[:160])
    assert tick(close_feedback_batches, instance, home).run_requests
    monkeypatch.setattr(run_requests, "LOST_AFTER", timedelta(0))
    assert tick(close_feedback_batches, instance, home).run_requests
    (batch,) = home.feedback().batches()
    instance.create_run_for_job(
        dg.job(name="ingest_feedback")(lambda: None), tags={BATCH_TAG: batch.digest}
    )
    assert isinstance(tick(close_feedback_batches, instance, home), dg.SkipReason)


def drop(home, name, content):
    """Put a complete file into the inbox."""
    folder = home.layout.inbox
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(content)
    (folder / f"{name}.ready").touch()


def test_files_of_the_inbox_become_open_events_once(instance, home, events):
    assert (
        tick(collect_inbox, instance, home).skip_message
        == f"the inbox {home.layout.inbox} is empty"
    )
    lines = b"".join(event.to_json() for event in events[:160])
    drop(home, "monday.jsonl", lines + b"{not json}\n")
    assert (
        tick(collect_inbox, instance, home).skip_message
        == "monday.jsonl: 160 accepted, 0 duplicate, 1 quarantined"
    )
    assert len(tick(close_feedback_batches, instance, home).run_requests) == 1
    drop(home, "tuesday.jsonl", lines)
    assert (
        tick(collect_inbox, instance, home).skip_message
        == "tuesday.jsonl: 0 accepted, 160 duplicate, 0 quarantined"
    )
    assert "no open feedback" in tick(close_feedback_batches, instance, home).skip_message


def test_the_tick_says_what_was_refused_and_what_waits(instance, home, events):
    drop(home, "feedback.exe", b"MZ")
    (home.layout.inbox / "late.jsonl").write_bytes(events[0].to_json())
    message = tick(collect_inbox, instance, home).skip_message
    assert "feedback.exe was refused: its name ends in none of" in message
    assert "late.jsonl waits: was written to less than 10 seconds ago" in message
