"""The inbox takes each complete file in once, puts it away, and says about every other file why
not."""

import gzip
import os
import signal
import subprocess
import sys
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from filelock import FileLock

from plumbline.data.store.deliveries import Deliveries
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.inbox import SETTLE_SECONDS, collect, erase_copies
from plumbline.storage.jsonl import write_records

LATER = timedelta(seconds=SETTLE_SECONDS + 1)


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "inbox").mkdir()
    return tmp_path / "inbox"


@pytest.fixture
def store(tmp_path):
    store = FeedbackStore(f"sqlite:///{tmp_path}/feedback.db")
    yield store
    store.close()


def look(folder, store, later=LATER):
    return collect(folder, store, datetime.now(UTC) + later)


def names(folder):
    return sorted(path.name for path in folder.iterdir() if not path.name.startswith("."))


@pytest.fixture
def events(make_event):
    return [make_event(f"q{n}") for n in range(5)]


def test_files_of_every_kind_are_taken_in_once_and_put_away(folder, store, events, tmp_path):
    write_records(folder / "b.jsonl", events[:3])
    (folder / "a.jsonl.gz").write_bytes(
        gzip.compress(b"".join(event.to_json() for event in events[2:]))
    )
    collected = look(folder, store)
    assert [(one.source, one.way, one.accepted, one.duplicate) for one in collected.deliveries] == [
        ("a.jsonl.gz", "inbox", 3, 0),
        ("b.jsonl", "inbox", 2, 1),
    ]
    assert (collected.refused, collected.waiting) == ({}, {})
    assert (names(folder), names(folder / "done")) == (
        ["done", "refused"],
        ["a.jsonl.gz", "b.jsonl"],
    )
    assert look(folder, store) == ((), {}, {})
    (folder / "done" / "b.jsonl").rename(folder / "b.jsonl")  # the same file is put in again
    (again,) = look(folder, store).deliveries
    assert (again.repeats, again.accepted) == (True, 0)
    assert store.open_events().events == 5


@pytest.mark.threat("D1")
@pytest.mark.parametrize("name", ["a.jsonl", "a.jsonl.gz", "a.json"])
def test_a_file_that_is_still_being_written_waits_however_long_its_writer_pauses(
    folder, store, events, name
):
    lines = b"".join(event.to_json() for event in events)
    whole = {
        "a.jsonl": lines,
        "a.jsonl.gz": gzip.compress(lines),
        "a.json": b"[" + b",".join(event.to_json() for event in events) + b"]",
    }[name]
    (folder / name).write_bytes(b"")
    assert look(folder, store).waiting == {name: "is empty"}
    with (folder / name).open("wb", buffering=0) as writer:
        writer.write(whole[: len(whole) // 2])
        assert "less than 10 seconds ago" in look(folder, store, timedelta(0)).waiting[name]
        assert name in look(folder, store).waiting
        assert store.open_events().events == 0
        writer.write(whole[len(whole) // 2 :])
    assert look(folder, store, timedelta(0)).waiting == {
        name: "was written to less than 10 seconds ago"
    }
    (delivery,) = look(folder, store).deliveries
    assert delivery.accepted == 5
    assert look(folder, store).deliveries == ()


def test_a_marker_says_that_a_file_is_complete_now(folder, store, events):
    write_records(folder / "a.jsonl", events)
    write_records(folder / "b.jsonl", events)
    (folder / "a.jsonl.ready").touch()
    collected = look(folder, store, timedelta(0))
    assert [one.source for one in collected.deliveries] == ["a.jsonl"]
    assert list(collected.waiting) == ["b.jsonl"]
    assert names(folder) == ["b.jsonl", "done", "refused"]


def test_a_file_said_to_be_complete_that_is_not_is_refused(folder, store, events):
    (folder / "a.jsonl").write_bytes(b"".join(event.to_json() for event in events)[:-20])
    (folder / "a.jsonl.ready").touch()
    assert "does not end with a line feed" in look(folder, store).refused["a.jsonl"]
    assert names(folder / "refused") == ["a.jsonl", "a.jsonl.reason.txt"]
    assert store.open_events().events == 0


def test_files_that_are_being_written_by_name_wait(folder, store, events):
    for name in (".hidden.jsonl", "a.jsonl.part", "a.jsonl.tmp"):
        write_records(folder / name, events)
    assert list(look(folder, store).waiting) == ["a.jsonl.part", "a.jsonl.tmp"]
    assert store.open_events().events == 0


@pytest.mark.threat("D4")
def test_bad_rows_are_quarantined_and_a_file_of_bad_rows_is_refused_with_the_reason(
    folder, store, events
):
    write_records(folder / "mixed.jsonl", events)
    (folder / "mixed.jsonl").open("ab").write(b"{}\n")
    (folder / "bad.jsonl").write_bytes(b"{}\nnonsense\n")
    (folder / "notes.docx").write_bytes(b"x")
    collected = look(folder, store)
    assert [(one.source, one.accepted, one.quarantined) for one in collected.deliveries] == [
        ("mixed.jsonl", 5, 1)
    ]
    assert (
        collected.refused["bad.jsonl"]
        == "bad.jsonl: no row is a feedback event (1 rows: id: Field required; 1 rows: not JSON)"
    )
    assert collected.refused["notes.docx"].startswith("its name ends in none of .jsonl")
    assert (
        (folder / "refused" / "bad.jsonl.reason.txt").read_text().startswith("bad.jsonl: no row is")
    )
    assert len(list(Deliveries(store).quarantined())) == 1


@pytest.mark.threat("S2")
def test_links_pipes_folders_and_names_with_tricks_are_refused_and_nothing_outside_is_touched(
    folder, store, events, tmp_path
):
    write_records(tmp_path / "outside.jsonl", events)
    secret = (tmp_path / "outside.jsonl").read_bytes()
    (folder / "link.jsonl").symlink_to(tmp_path / "outside.jsonl")
    (folder / "dangling.jsonl").symlink_to(tmp_path / "absent")
    os.link(tmp_path / "outside.jsonl", folder / "hard.jsonl")
    os.mkfifo(folder / "pipe.jsonl")
    (folder / "folder.jsonl").mkdir()
    tricks = [
        "x%2f..%2fy.jsonl",
        "a\nb.jsonl",
        "x;rm -rf.jsonl",
        "-rf.jsonl",
        "\x1b[31m.jsonl",
        "a" * 220 + ".jsonl",
        os.fsdecode(b"\xff.jsonl"),
    ]
    for name in tricks:
        write_records(tmp_path / "one.jsonl", events)
        (tmp_path / "one.jsonl").rename(folder / name)
    collected = look(folder, store)
    assert collected.deliveries == ()
    assert (len(collected.refused), store.open_events().events) == (5 + len(tricks), 0)
    assert "is a link" in collected.refused["link.jsonl"]
    assert "hard link" in collected.refused["hard.jsonl"]
    assert (
        collected.refused["pipe.jsonl"]
        == collected.refused["folder.jsonl"]
        == "is not a plain file"
    )
    assert (tmp_path / "outside.jsonl").read_bytes() == secret
    assert names(folder) == ["done", "refused"]
    assert sorted(path.name for path in tmp_path.iterdir() if "feedback.db" not in path.name) == [
        "inbox",
        "outside.jsonl",
    ]
    assert all(name.isprintable() for name in collected.refused)


def test_a_name_that_is_taken_in_done_gets_a_number(folder, store, events):
    for part in (events[:2], events[2:]):
        write_records(folder / "day.jsonl", part)
        look(folder, store)
    assert names(folder / "done") == ["2-day.jsonl", "day.jsonl"]
    assert store.open_events().events == 5


@pytest.mark.threat("C3")
def test_the_copies_of_erased_events_are_removed_also_inside_compression(
    folder, store, events, make_event
):
    mine = make_event("mine", annotator="rater-02")
    write_records(folder / "other.jsonl", events)
    (folder / "mine.jsonl.gz").write_bytes(
        gzip.compress(b"".join(event.to_json() for event in [*events, mine]))
    )
    (folder / "bad.jsonl").write_bytes(b'{"annotator":"rater-02"}\n')
    (folder / "unreadable.jsonl.gz").write_bytes(gzip.compress(mine.to_json())[:-5])
    (folder / "unreadable.jsonl.gz.ready").touch()
    look(folder, store)
    assert erase_copies(folder, {mine.id}, "rater-02") == (
        "done/mine.jsonl.gz",
        "refused/bad.jsonl",
        "refused/unreadable.jsonl.gz",
    )
    assert (names(folder / "done"), names(folder / "refused")) == (["other.jsonl"], [])
    assert erase_copies(folder, {mine.id}, "rater-02") == ()


def test_two_collectors_do_not_work_at_once(folder, store, events):
    write_records(folder / "a.jsonl", events)
    with FileLock(folder / ".lock"):
        assert look(folder, store) == ((), {}, {".": "another collector is at work"})
    assert len(look(folder, store).deliveries) == 1


def test_a_file_left_by_a_killed_collector_is_taken_in_once(folder, store, events, tmp_path):
    """The collector is killed while it reads, which it does with the file put aside; the next one
    finds it there."""
    write_records(folder / "a.jsonl", events)
    program = f"""
import sys, time
from datetime import UTC, datetime
from pathlib import Path
from plumbline.data.store import inbox
from plumbline.data.store.events import FeedbackStore
def slow(*arguments):
    print("reading", flush=True)
    time.sleep(60)
inbox.read_feedback = slow
store = FeedbackStore("sqlite:///{tmp_path}/feedback.db")
inbox.collect(Path({str(folder)!r}), store, datetime.now(UTC), settle_seconds=0)
"""
    process = subprocess.Popen(
        [sys.executable, "-c", program], stdout=subprocess.PIPE, cwd=Path(__file__).parents[4]
    )
    assert process.stdout.readline() == b"reading\n"
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert (names(folder), os.listdir(folder / ".taken")) == (["done", "refused"], ["a.jsonl"])
    (delivery,) = look(folder, store).deliveries
    assert (delivery.accepted, names(folder / "done")) == (5, ["a.jsonl"])


def test_a_large_inbox_is_looked_at_quickly(folder, store):
    for n in range(500):
        (folder / f"{n}.jsonl").write_bytes(b"")
    start = time.process_time()
    assert len(look(folder, store).waiting) == 500
    assert time.process_time() - start < 2
