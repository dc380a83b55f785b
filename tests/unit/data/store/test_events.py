import json
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from plumbline.data.store.batches import batch_digest
from plumbline.data.store.events import FeedbackStore
from plumbline.errors import DataError
from plumbline.profile.data import BatchConfig
from tests.unit.in_memory import add_batch, add_events

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 2, 1, tzinfo=UTC)
RULE = BatchConfig(max_events=4, max_age_hours=24)


@pytest.fixture
def url(feedback_url):
    return feedback_url


def tamper(url, statement, **values):
    """Run SQL behind the store's back; returns the rows it gives."""
    import sqlalchemy

    engine = sqlalchemy.create_engine(url, poolclass=sqlalchemy.pool.NullPool)
    with engine.begin() as connection:
        result = connection.execute(sqlalchemy.text(statement), values)
        return [tuple(row) for row in result] if result.returns_rows else []


@pytest.fixture
def store(url):
    store = FeedbackStore(url)
    yield store
    store.close()


@pytest.fixture
def events(make_event):
    return [make_event(f"q{n:03d}") for n in range(10)]


def test_a_second_delivery_changes_nothing(store, events):
    first = add_events(store, events[:6], NOW)
    second = add_events(store, events[4:], NOW + timedelta(hours=1))
    assert (first.accepted, first.duplicate, first.conflict) == (6, 0, 0)
    assert (second.accepted, second.duplicate, second.conflict) == (4, 2, 0)
    assert store.open_events() == (10, NOW)


def test_one_event_twice_in_one_delivery_is_one_event(store, events):
    receipt = add_events(store, [events[0], events[0]], NOW)
    assert (receipt.accepted, receipt.duplicate) == (1, 1)
    assert store.open_events().events == 1


def test_another_body_under_a_known_id_is_counted_and_never_written(store, events, url):
    add_events(store, events[:1], NOW)
    tamper(url, "UPDATE events SET body = :body", body=b"damaged")
    receipt = add_events(store, events[:1], NOW)
    assert (receipt.accepted, receipt.duplicate, receipt.conflict) == (0, 0, 1)
    assert [bytes(body) for (body,) in tamper(url, "SELECT body FROM events")] == [b"damaged"]


def test_an_empty_store_has_nothing_open(store):
    assert store.open_events() == (0, None)
    assert store.close_batches(RULE, NOW) == []
    assert store.batches() == store.claims() == ()


def test_full_batches_close_and_the_rest_waits_until_it_is_old(store, events):
    add_events(store, events, NOW)
    full = store.close_batches(RULE, NOW + timedelta(hours=23))
    assert [batch.events for batch in full] == [4, 4]
    assert store.open_events() == (2, NOW)
    assert store.close_batches(RULE, NOW + timedelta(hours=23, minutes=59)) == []
    (rest,) = store.close_batches(RULE, NOW + timedelta(hours=24))
    assert rest.events == 2
    assert store.batches() == tuple(
        sorted((*full, rest), key=lambda batch: (batch.closed_at, batch.id))
    )
    members = [event.id for batch in store.batches() for event in store.batch_events(batch.id)]
    assert sorted(members) == sorted(event.id for event in events)


def test_a_batch_is_named_after_its_content(store, events):
    add_events(store, events[:4], NOW)
    (batch,) = store.close_batches(RULE, NOW)
    assert batch.digest == batch_digest(event.id for event in reversed(events[:4]))
    assert batch.id == f"b-{batch.digest.removeprefix('sha256:')[:12]}"
    assert [event.id for event in store.batch_events(batch.id)] == sorted(
        event.id for event in events[:4]
    )


def test_a_named_batch_is_closed_at_once_and_closed_for_ever(store, events):
    add_events(store, events[:2], NOW)  # two of the three are known and open
    batch = add_batch(store, "2023-05-18", events[:3], NOW)
    assert add_batch(store, "2023-05-18", reversed(events[:3]), NOW + timedelta(days=1)) == batch
    assert store.open_events() == (0, None)
    with pytest.raises(DataError, match="batch '2023-05-18': is closed with 3 events"):
        add_batch(store, "2023-05-18", events[:4])
    with pytest.raises(DataError, match="is in batch '2023-05-18' already"):
        add_batch(store, "2023-05-19", events[2:6])
    assert store.open_events() == (0, None), "a refused batch leaves no event behind"
    assert store.batches() == (batch,)


@pytest.mark.parametrize("name", ["", "Tuesday", "../up", "a b", "x" * 65])
def test_a_batch_needs_a_name_that_can_be_a_partition(store, events, name):
    with pytest.raises(DataError, match="is not a name for a batch"):
        add_batch(store, name, events)
    with pytest.raises(DataError, match="holds no event"):
        add_batch(store, "empty", [])


def test_a_changed_batch_is_noticed(store, events, url):
    add_batch(store, "day", events, NOW)
    identifier, body = events[0].id, events[0].to_json()
    tamper(url, "DELETE FROM events WHERE id = :id", id=identifier)
    with pytest.raises(DataError, match=r"was closed with 10 events .* now has 9 events"):
        store.batch_events("day")
    tamper(
        url,
        "INSERT INTO events VALUES (:id, :body, 't', 'day')",
        id=identifier,
        body=body.replace(b"rater-01", b"rater-02"),
    )
    with pytest.raises(DataError, match=f"event {identifier}: its stored body is damaged"):
        list(store.batch_events("day"))
    with pytest.raises(
        DataError, match="batch 'night': is not in the feedback store; known batches: day"
    ):
        store.batch_events("night")


def test_a_digest_is_claimed_once_until_the_claim_is_released(store, url):
    assert store.claim("sha256:a", "sensor", NOW)
    assert not store.claim("sha256:a", "sensor", NOW)
    assert not FeedbackStore(url).claim("sha256:a", "other", NOW)
    (claim,) = store.claims()
    assert (claim.digest, claim.claimant, claim.age(NOW + timedelta(hours=2))) == (
        "sha256:a",
        "sensor",
        timedelta(hours=2),
    )
    assert store.release_claim("sha256:a", claim.claimed_at)
    assert store.claim("sha256:a", "second", NOW + timedelta(hours=2))
    assert not store.release_claim("sha256:a", claim.claimed_at), "the new claim is another one"
    assert [claim.claimant for claim in store.claims()] == ["second"]


def test_times_keep_their_instant(store, events):
    add_events(store, events, datetime.fromisoformat("2026-02-01T02:00:00+02:00"))
    assert store.open_events().oldest == NOW
    with pytest.raises(DataError, match="has no time zone"):
        add_events(store, events, datetime(2026, 2, 1))  # noqa: DTZ001


@pytest.mark.parametrize("url", ["sqlite://", "mysql://u:secret@host/db", "feedback.db"])
def test_a_store_that_cannot_keep_is_refused(url):
    with pytest.raises(DataError, match="use sqlite:///<path> or postgresql") as caught:
        FeedbackStore(url)
    assert "secret" not in str(caught.value)


RACER = """
import json, sys, time
from datetime import UTC, datetime
from pathlib import Path
from plumbline.profile.data import BatchConfig
from plumbline.storage.jsonl import read_records
from plumbline.schema.feedback import FeedbackEvent
from plumbline.data.store.events import FeedbackStore
from tests.unit.in_memory import add_events

url, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
events = list(read_records(folder / "events.jsonl", FeedbackEvent))
import sqlalchemy
def line_up(stage):
    (folder / f"{stage}-{name}").touch()
    while len(list(folder.glob(f"{stage}-*"))) < 3:
        time.sleep(0.001)
now = datetime(2026, 2, 1, tzinfo=UTC)
store = FeedbackStore(url)
line_up("add")
receipt = add_events(store, events, now)
line_up("close")
closed = store.close_batches(BatchConfig(max_events=7, max_age_hours=1e-9), datetime.now(UTC))
line_up("claim")
claimed = [batch.digest for batch in store.batches() if store.claim(batch.digest, name, now)]
counts = {"accepted": receipt.accepted, "duplicate": receipt.duplicate}
print(json.dumps(counts | {"closed": [b.id for b in closed], "claimed": claimed}))
"""


def test_three_processes_make_the_store_fill_it_close_it_and_claim_it(url, tmp_path, make_event):
    from plumbline.storage.jsonl import write_records

    events = [make_event(f"q{n}") for n in range(100)]
    write_records(tmp_path / "events.jsonl", events)
    commands = [[sys.executable, "-c", RACER, url, str(tmp_path), str(n)] for n in range(3)]
    racers = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    answers = []
    for racer in racers:
        out, err = racer.communicate(timeout=60)
        assert racer.returncode == 0, err
        answers.append(json.loads(out))
    assert sum(answer["accepted"] for answer in answers) == 100
    assert sum(answer["duplicate"] for answer in answers) == 200
    store = FeedbackStore(url)
    closed = [name for answer in answers for name in answer["closed"]]
    assert sorted(closed) == sorted(batch.id for batch in store.batches())
    assert [batch.events for batch in store.batches()].count(7) == 14
    assert sorted(
        e.id for batch in store.batches() for e in store.batch_events(batch.id)
    ) == sorted(e.id for e in events)
    claimed = [digest for answer in answers for digest in answer["claimed"]]
    assert sorted(claimed) == sorted(batch.digest for batch in store.batches())


STREAMER = """
import resource, sys
from datetime import UTC, datetime
from pathlib import Path
from plumbline.storage.jsonl import read_records
from plumbline.profile.data import BatchConfig
from plumbline.schema.feedback import FeedbackEvent
from plumbline.data.store.events import FeedbackStore
from tests.unit.in_memory import add_events

def peak():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
url, path = sys.argv[1], Path(sys.argv[2])
now = datetime(2026, 2, 1, tzinfo=UTC)
store = FeedbackStore(url)
def events(limit):
    for number, event in enumerate(read_records(path, FeedbackEvent)):
        if number == limit:
            return
        yield event
add_events(store, events(300), now)
(batch,) = store.close_batches(BatchConfig(max_events=300, max_age_hours=1), now)
assert sum(1 for _ in store.batch_events(batch.id)) == 300
before = peak()
print(add_events(store, events(10**9), now).accepted)
(batch,) = store.close_batches(BatchConfig(max_events=10**6, max_age_hours=1e-9), datetime.now(UTC))
print(sum(1 for _ in store.batch_events(batch.id)))
print(peak() - before)
"""


def test_memory_does_not_grow_with_the_events(url, tmp_path, make_event):
    """4000 events of 20,000 characters are 80 MB. A process that has handled 300 of them needs less
    than 24 MiB more to take in, batch and read all."""
    from plumbline.storage.jsonl import write_records

    write_records(
        tmp_path / "events.jsonl", (make_event(f"q{n}", "x" * 20_000) for n in range(4000))
    )
    done = subprocess.run(
        [sys.executable, "-c", STREAMER, url, str(tmp_path / "events.jsonl")],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    accepted, read, grown = done.stdout.split()
    assert (int(accepted), int(read)) == (3700, 3700)
    assert float(grown) < 24
