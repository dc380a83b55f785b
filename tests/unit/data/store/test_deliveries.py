"""How events come in, on SQLite and on PostgreSQL: in = accepted + duplicate + quarantined,
whatever comes."""

import threading
from datetime import UTC, datetime
from pathlib import Path

import pytest

from plumbline.data.formats.import_report import ImportedRow
from plumbline.data.formats.reading import read_feedback
from plumbline.data.readers.files import read_rows
from plumbline.data.readers.rows import IncompleteFile, file_digest
from plumbline.data.sources import InitialFeedback, seed_feedback
from plumbline.data.store import spool
from plumbline.data.store.deliveries import CONFLICT, Deliveries
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.spool import ParsedUpload
from plumbline.errors import DataError
from plumbline.profile.data import BatchConfig
from plumbline.profile.profile import load_profile
from plumbline.records import sha256
from plumbline.storage.jsonl import write_records

NOW = datetime(2026, 2, 3, 4, 5, 6, tzinfo=UTC)


@pytest.fixture
def store(feedback_url):
    store = FeedbackStore(feedback_url)
    yield store
    store.close()


@pytest.fixture
def deliveries(store):
    return Deliveries(store)


def file_of(path, events, *bad):
    write_records(path, events)
    path.write_bytes(path.read_bytes() + b"".join(line + b"\n" for line in bad))
    return path


def deliver(deliveries, path, source=None, each=None):
    return deliveries.deliver(
        source or path.name,
        "file",
        read_feedback(read_rows(path), "jsonl"),
        file_digest(path),
        NOW,
        each=each,
    )


def counts(delivery):
    assert delivery.rows == delivery.accepted + delivery.duplicate + delivery.quarantined
    return (
        delivery.rows,
        delivery.accepted,
        delivery.duplicate,
        delivery.quarantined,
        delivery.repeats,
    )


def stored(store):
    return store.open_events().events


@pytest.mark.threat("D2")
@pytest.mark.threat("D4")
def test_what_comes_in_is_accepted_duplicate_or_quarantined_and_a_repetition_changes_nothing(
    deliveries, store, tmp_path, make_event
):
    """Five rows: two new events, one of them twice, a broken line, and an event under an id that is
    not that of its content."""
    one, two = make_event("q1"), make_event("q2")
    forged = one.to_json().strip().replace(b'"q1"', b'"other"')
    path = file_of(tmp_path / "a.jsonl", [one, two, one], b"{broken", forged)
    outcomes = []
    delivery = deliver(deliveries, path, each=outcomes.append)
    assert counts(delivery) == (5, 2, 1, 2, False)
    assert [(o.row, o.event_id, o.result, o.reason) for o in sorted(outcomes)] == [
        (1, one.id, "accepted", None),
        (2, two.id, "accepted", None),
        (3, one.id, "duplicate", None),
        (4, None, "quarantined", "not JSON"),
        (5, None, "quarantined", "id is not the digest of the content"),
    ]
    lines = path.read_bytes().splitlines(keepends=True)
    assert [(q.row, q.offset, q.length, q.body) for q in deliveries.quarantined()] == [
        (4, sum(map(len, lines[:3])), 7, b"{broken"),
        (5, sum(map(len, lines[:4])), len(forged), forged),
    ]
    before = (deliveries.history(), list(deliveries.quarantined()))
    for name in ("a.jsonl", "renamed.jsonl"):
        again = deliver(deliveries, path, source=name)
        assert (counts(again), again.id) == ((5, 0, 5, 0, True), delivery.id)
    assert (deliveries.history(), list(deliveries.quarantined())) == before
    assert stored(store) == 2


@pytest.mark.threat("D2")
def test_an_event_in_two_files_is_one_event_and_the_first_file_brought_it(
    deliveries, store, tmp_path, make_event
):
    one, two = make_event("q1"), make_event("q2")
    first = deliver(deliveries, file_of(tmp_path / "a.jsonl", [one]))
    second = deliver(deliveries, file_of(tmp_path / "b.jsonl", [two, one]))
    assert (counts(first), counts(second)) == ((1, 1, 0, 0, False), (2, 1, 1, 0, False))
    assert [deliveries.of_event(event.id).source for event in (one, two)] == ["a.jsonl", "b.jsonl"]
    assert stored(store) == 2


@pytest.mark.threat("D2")
def test_the_same_id_with_another_body_is_a_conflict_that_is_quarantined_and_overwrites_nothing(
    deliveries, store, make_event
):
    """Ids are digests, so only a damaged sender or store can do this: an event is made here that
    lies about its id."""
    one, two = make_event("q1"), make_event("q2")
    deliveries.deliver("a", "http", [ImportedRow(1, 0, 1, one)], sha256(b"a"), NOW)
    liar = two.model_copy(update={"id": one.id})
    outcomes = []
    delivery = deliveries.deliver(
        "b", "http", [ImportedRow(7, 99, 5, liar)], sha256(b"b"), NOW, each=outcomes.append
    )
    assert counts(delivery) == (1, 0, 0, 1, False)
    assert outcomes == [(7, one.id, "quarantined", CONFLICT)]
    (row,) = deliveries.quarantined(delivery.id)
    assert (row.row, row.offset, row.reason, row.event_id, row.body) == (
        7,
        99,
        CONFLICT,
        one.id,
        liar.to_json(),
    )
    assert counts(
        deliveries.deliver("b", "http", [ImportedRow(7, 99, 5, liar)], sha256(b"b"), NOW)
    ) == (1, 0, 1, 0, True)
    with (
        pytest.raises(DataError, match="another body under the same id"),
        ParsedUpload("c", "file", [ImportedRow(1, 0, 5, liar)], sha256(b"c")) as parcel,
    ):
        deliveries.deliver_uploads([parcel], NOW, batch="named")
    store.close_batches(BatchConfig(max_events=1, max_age_hours=1), NOW)
    assert [event for batch in store.batches() for event in store.batch_events(batch.id)] == [one]


@pytest.mark.threat("D1")
def test_of_a_half_written_file_nothing_is_taken(deliveries, store, tmp_path, make_event):
    path = file_of(tmp_path / "a.jsonl", [make_event(f"q{n}") for n in range(20)])
    whole = path.read_bytes()
    path.write_bytes(whole[:-10])
    with pytest.raises(IncompleteFile):
        deliver(deliveries, path)
    assert (stored(store), deliveries.history()) == (0, ())
    path.write_bytes(whole)
    assert counts(deliver(deliveries, path)) == (20, 20, 0, 0, False)


def test_a_delivery_is_whole_or_not_at_all(deliveries, store, make_event):
    def rows():
        yield ImportedRow(1, 0, 1, make_event("q1"))
        raise DataError("the sender went away")

    with pytest.raises(DataError, match="went away"):
        deliveries.deliver("a", "http", rows(), sha256(b"a"), NOW)
    with (
        ParsedUpload("a", "file", [ImportedRow(1, 0, 1, make_event("q1"))], sha256(b"a")) as parcel,
        pytest.raises(DataError, match="not a name for a batch"),
    ):
        deliveries.deliver_uploads([parcel], NOW, batch="Not A Name")
    assert (stored(store), deliveries.history(), list(deliveries.quarantined())) == (0, (), [])


def test_several_files_close_as_one_batch(deliveries, store, tmp_path, make_event):
    paths = [
        file_of(tmp_path / f"{name}.jsonl", [make_event(f"{name}{n}") for n in range(3)], b"{}")
        for name in "ab"
    ]
    for _ in range(2):  # the second time changes nothing
        packed = [
            ParsedUpload(
                path.name, "file", read_feedback(read_rows(path), "jsonl"), file_digest(path)
            )
            for path in paths
        ]
        deliveries.deliver_uploads(packed, NOW, batch="monday")
        for parcel in packed:
            parcel.close()
    assert [(batch.id, batch.events) for batch in store.batches()] == [("monday", 6)]
    assert [(one.source, one.accepted, one.quarantined) for one in deliveries.history()] == [
        ("a.jsonl", 3, 1),
        ("b.jsonl", 3, 1),
    ]
    event = next(store.batch_events("monday"))
    assert deliveries.batch_of(event.id) == "monday"


def test_a_better_version_of_a_bad_row_comes_in_and_the_old_one_stays_on_record(
    deliveries, tmp_path, make_event
):
    event = make_event("q1")
    deliver(deliveries, file_of(tmp_path / "a.jsonl", [], event.to_json()[:-3]))
    assert counts(deliver(deliveries, file_of(tmp_path / "a.jsonl", [event]))) == (
        1,
        1,
        0,
        0,
        False,
    )
    assert [row.reason for row in deliveries.quarantined()] == ["not JSON"]
    assert [one.id for one in deliveries.history()] == [1, 2]


def test_an_empty_delivery_leaves_no_trace(deliveries):
    delivery = deliveries.deliver("nothing", "http", [], sha256(b"[]"), NOW)
    assert (counts(delivery), delivery.id, deliveries.history()) == ((0, 0, 0, 0, False), None, ())


def test_a_file_of_garbage_is_refused_whole_before_it_fills_the_database(
    deliveries, tmp_path, monkeypatch, make_event
):
    monkeypatch.setattr(spool, "MAX_BAD_ROWS", 10)
    path = file_of(tmp_path / "a.jsonl", [make_event("q")], *[b""] * 11)
    with pytest.raises(DataError, match="more than 10 rows are bad, for example: empty row"):
        deliver(deliveries, path)
    assert deliveries.history() == ()


def test_more_rows_than_are_held_in_memory_take_the_same_way(
    deliveries, store, tmp_path, monkeypatch, make_event
):
    monkeypatch.setattr(spool, "_MEMORY", 1000)
    events = [make_event(f"q{n}") for n in range(450)]
    assert counts(
        deliver(
            deliveries, file_of(tmp_path / "a.jsonl", events, *[b"bad %d" % n for n in range(210)])
        )
    ) == (660, 450, 0, 210, False)
    assert [row.row for row in deliveries.quarantined()] == list(range(451, 661))
    store.close_batches(BatchConfig(max_events=450, max_age_hours=1), NOW)
    assert {event.id for event in store.batch_events(store.batches()[0].id)} == {
        event.id for event in events
    }


def test_two_deliveries_of_one_file_at_once_take_each_event_in_once(
    deliveries, store, tmp_path, make_event
):
    path = file_of(tmp_path / "a.jsonl", [make_event(f"q{n}") for n in range(60)], b"bad")
    found = []
    threads = [
        threading.Thread(target=lambda: found.append(counts(deliver(deliveries, path))))
        for _ in range(3)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(found) == [(61, 0, 61, 0, True), (61, 0, 61, 0, True), (61, 60, 0, 1, False)]
    assert (stored(store), len(list(deliveries.quarantined()))) == (60, 1)


@pytest.mark.requirement("D10")
def test_the_way_of_an_event_is_on_record(deliveries, store, make_event):
    event = make_event("q1")
    deliveries.deliver("key crowd-7", "http", [ImportedRow(1, 0, 1, event)], sha256(b"body"), NOW)
    found = deliveries.of_event(event.id)
    assert (found.source, found.way, found.digest, found.received_at) == (
        "key crowd-7",
        "http",
        sha256(b"body"),
        NOW,
    )
    assert deliveries.of_event("unknown") is None
    assert (
        deliveries.holds(event.id),
        deliveries.holds("unknown"),
        deliveries.batch_of(event.id),
    ) == (True, False, None)


@pytest.mark.requirement("D10")
def test_the_feedback_that_a_profile_starts_with_is_delivered_too(deliveries, store):
    """320 comparisons of the tiny sandbox in batches of 160, and 120 verdicts in a batch of their
    own."""
    profile = load_profile("tiny")
    assert seed_feedback(store, profile, Path) == InitialFeedback(accepted=440, duplicate=0)
    assert seed_feedback(store, profile, Path) == InitialFeedback(accepted=0, duplicate=440)
    assert [(one.source, one.way, one.accepted) for one in deliveries.history()] == [
        ("the sandbox of profile tiny", "cli", n) for n in (160, 160, 120)
    ]
    assert [(batch.id, batch.events) for batch in store.batches()] == [
        ("sandbox-001", 160),
        ("sandbox-002", 160),
        ("sandbox-verdicts-001", 120),
    ]


@pytest.mark.requirement("D10")
def test_the_files_of_a_profile_are_delivered_with_their_bad_rows(deliveries, store, data_folder):
    profile = load_profile("real-data-cpu")
    seeded = seed_feedback(store, profile, lambda: data_folder)
    assert seeded.rejected == {
        "hh-rlhf-harmless-pairs": {
            "empty response": 4,
            "malformed transcript": 3,
            "prompt mismatch": 1,
        }
    }
    assert (
        sum(one.rows for one in deliveries.history())
        == 989 + 1500
        == seeded.accepted + len(list(deliveries.quarantined()))
    )
    assert [batch.id for batch in store.batches()][:2] == ["2023-05-18", "2023-05-19"]
