"""The ledger: once for each key, in order, durable, and every change of it found."""

import json
import os
import re
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import pytest

from plumbline.errors import LedgerConflict, LedgerError
from plumbline.lineage.ledger import GENESIS, Ledger
from plumbline.records import canonical_json, sha256

KINDS = ("opened", "signed", "opened", "promoted")

WRITER = """
import sys
from pathlib import Path
from plumbline.lineage.ledger import Ledger
ledger = Ledger(Path(sys.argv[1]))
print("ready", flush=True)
sys.stdin.readline()
for number in range(int(sys.argv[2]), int(sys.argv[3])):
    print(ledger.append("opened", f"key-{number}", {"number": number}).sequence, flush=True)
"""


@pytest.fixture
def ledger(tmp_path: Path) -> Ledger:
    ledger = Ledger(tmp_path / "home" / "ledger.db")
    for number, kind in enumerate(KINDS, 1):
        ledger.append(kind, f"key-{number}", {"number": number, "who": "Zoë"})
    return ledger


def tamper(ledger: Ledger, *statements: str) -> None:
    """Do to the file what an attacker with an SQLite shell does: the triggers go first and come
    back afterwards."""
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as connection:
        triggers = connection.execute(
            "SELECT name, sql FROM sqlite_schema WHERE type = 'trigger'"
        ).fetchall()
        for name, _ in triggers:
            connection.execute(f"DROP TRIGGER {name}")
        for statement in statements:
            connection.execute(statement)
        for _, sql in triggers:
            connection.execute(sql)


def test_entries_come_back_in_order_and_chained(ledger: Ledger) -> None:
    """The hash of an entry is recomputed here from the definition in the module docstring."""
    entries = ledger.entries()
    assert [(entry.sequence, entry.kind, entry.key) for entry in entries] == [
        (n, kind, f"key-{n}") for n, kind in enumerate(KINDS, 1)
    ]
    previous = GENESIS
    for entry in entries:
        assert entry.previous == previous
        assert entry.body_digest == sha256(canonical_json({"number": entry.sequence, "who": "Zoë"}))
        names = ("sequence", "kind", "key", "body_digest", "previous", "recorded_at")
        previous = sha256(
            json.dumps(
                {name: getattr(entry, name) for name in sorted(names)}, separators=(",", ":")
            ).encode()
            + b"\n"
        )
        assert entry.hash == previous
    assert ledger.head() == previous
    assert ledger.entries("opened") == (entries[0], entries[2])
    assert ledger.find("signed", "key-2") == entries[1]
    assert ledger.find("signed", "key-1") is None
    assert ledger.verify() == ()


def test_nothing_recorded_yet_is_an_empty_ledger_and_makes_no_file(tmp_path: Path) -> None:
    ledger = Ledger(tmp_path / "home" / "ledger.db")
    assert (ledger.entries(), ledger.find("opened", "x"), ledger.head(), ledger.verify()) == (
        (),
        None,
        GENESIS,
        (),
    )
    assert not ledger.path.parent.exists()


def test_a_retry_returns_the_first_entry_and_other_content_is_refused(ledger: Ledger) -> None:
    first = ledger.find("signed", "key-2")
    assert ledger.append("signed", "key-2", {"who": "Zoë", "number": 2}) == first
    with pytest.raises(
        LedgerConflict, match=r"entry 2 already records signed 'key-2' with other content"
    ):
        ledger.append("signed", "key-2", {"number": 3})
    assert len(ledger.entries()) == len(KINDS)


@pytest.mark.parametrize(
    ("kind", "key", "body"),
    [("Upper", "k", {}), ("", "k", {}), ("opened", "", {}), ("opened", "k", {"x": float("nan")})],
)
def test_what_is_no_entry_is_refused_before_anything_is_written(
    ledger: Ledger, kind: str, key: str, body: dict[str, object]
) -> None:
    with pytest.raises(ValueError, match=r"ledger entry|JSON compliant"):
        ledger.append(kind, key, body)
    assert len(ledger.entries()) == len(KINDS)


@pytest.mark.parametrize(
    "statement",
    [
        "UPDATE ledger SET key = 'other' WHERE sequence = 2",
        "DELETE FROM ledger WHERE sequence = 4",
        (
            "INSERT OR REPLACE INTO ledger SELECT sequence, kind, key, '{}', body_digest, previous,"
            " hash, recorded_at FROM ledger WHERE sequence = 2"
        ),
        (
            "INSERT OR REPLACE INTO ledger SELECT 5, kind, key, '{}', body_digest, previous, hash,"
            " recorded_at FROM ledger WHERE sequence = 2"
        ),
        (
            "INSERT INTO ledger SELECT 9, kind, 'new', '{}', body_digest, previous, 'x',"
            " recorded_at FROM ledger WHERE sequence = 2"
        ),
    ],
)
def test_the_database_itself_refuses_every_change(ledger: Ledger, statement: str) -> None:
    with (
        closing(sqlite3.connect(ledger.path, isolation_level=None)) as connection,
        pytest.raises(sqlite3.IntegrityError, match="append-only"),
    ):
        connection.execute(statement)
    assert ledger.verify() == ()


TAMPERED = {
    "body": (
        "UPDATE ledger SET body = '{\"number\":7}\n' WHERE sequence = 2",
        "entry 2 .*was changed after it was written: its body",
    ),
    "time": (
        "UPDATE ledger SET recorded_at = '2020-01-01T00:00:00.000000+00:00' WHERE sequence = 3",
        "entry 3 .*its fields give the hash",
    ),
    "key": (
        "UPDATE ledger SET key = 'other' WHERE sequence = 1",
        "entry 1 .*its fields give the hash",
    ),
    "deleted": (
        "DELETE FROM ledger WHERE sequence = 2",
        "entry 3 .*stands where entry 2 should be",
    ),
    "first deleted": (
        "DELETE FROM ledger WHERE sequence = 1",
        "entry 2 .*stands where entry 1 should be",
    ),
}


@pytest.mark.parametrize(("statement", "said"), TAMPERED.values(), ids=TAMPERED)
def test_a_change_is_found_and_named(ledger: Ledger, statement: str, said: str) -> None:
    tamper(ledger, statement)
    findings = ledger.verify()
    assert findings
    assert any(re.search(said, finding.what) for finding in findings), findings


def test_reordered_entries_are_found(ledger: Ledger) -> None:
    """Two whole rows change places; each agrees with itself in all but its sequence, and with a
    hash made new the chain still breaks."""
    tamper(
        ledger,
        *(
            f"UPDATE ledger SET sequence = {new} WHERE sequence = {old}"
            for old, new in ((2, 9), (3, 2), (9, 3))
        ),
    )
    said = " ".join(finding.what for finding in ledger.verify())
    assert "entry 2 (opened key-3): does not follow from the entry before it" in said
    assert "entry 3 (signed key-2): does not follow from the entry before it" in said


def test_an_entry_that_was_rehashed_breaks_the_next_one(ledger: Ledger) -> None:
    entry = ledger.entries()[1]
    body = canonical_json({"number": 7}).decode()
    fields = {
        name: getattr(entry, name)
        for name in ("sequence", "kind", "key", "previous", "recorded_at")
    }
    digest = sha256(body.encode())
    tamper(
        ledger,
        f"UPDATE ledger SET body = '{body}', body_digest = '{digest}', hash ="
        f" '{sha256(canonical_json({**fields, 'body_digest': digest}))}' WHERE sequence = 2",
    )
    assert ledger.entries()[1].body == {"number": 7}
    assert [
        "entry 3" in finding.what and "does not follow" in finding.what
        for finding in ledger.verify()
    ] == [True]


def test_a_cut_end_is_found_against_a_head_that_was_noted(ledger: Ledger) -> None:
    head = ledger.head()
    tamper(ledger, "DELETE FROM ledger WHERE sequence = 4")
    assert ledger.verify() == ()
    (finding,) = ledger.verify(head)
    assert finding.artifact == head
    assert "cut off" in finding.what
    ledger.path.unlink()
    assert [found.artifact for found in ledger.verify(head)] == [head]


def test_an_earlier_head_still_holds_after_more_was_added(ledger: Ledger) -> None:
    head = ledger.head()
    ledger.append("opened", "later", {})
    assert ledger.verify(head) == ()
    assert ledger.verify(GENESIS) == ()


def test_removed_protection_is_found(ledger: Ledger) -> None:
    with closing(sqlite3.connect(ledger.path, isolation_level=None)) as connection:
        connection.execute("DROP TRIGGER ledger_no_delete")
    assert ["ledger_no_delete" in finding.what for finding in ledger.verify()] == [True]


def test_readers_and_writers_refuse_an_edited_entry(ledger: Ledger) -> None:
    tamper(ledger, "UPDATE ledger SET body = '{}' WHERE sequence = 4")
    for use in (
        ledger.entries,
        ledger.head,
        lambda: ledger.find("promoted", "key-4"),
        lambda: ledger.append("opened", "new", {}),
    ):
        with pytest.raises(LedgerError, match=r"entry 4 .* was changed after it was written"):
            use()
    assert len(ledger.entries("signed")) == 1


def test_a_file_that_is_no_ledger_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "ledger.db"
    path.write_bytes(b"not a database, but long enough to have a header of sixteen bytes" * 20)
    for use in (Ledger(path).head, lambda: Ledger(path).append("opened", "k", {})):
        with pytest.raises(LedgerError, match="cannot be used"):
            use()
    path.unlink()
    with closing(sqlite3.connect(path)) as connection:
        connection.execute("CREATE TABLE something (x)")
    for use in (Ledger(path).head, lambda: Ledger(path).append("opened", "k", {})):
        with pytest.raises(LedgerError, match="not a ledger"):
            use()


@pytest.fixture
def writers(tmp_path: Path) -> Iterator[list[subprocess.Popen[str]]]:
    running: list[subprocess.Popen[str]] = []
    yield running
    for process in running:
        process.kill()
        process.wait()


def start(
    running: list[subprocess.Popen[str]], path: Path, first: int, end: int
) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", WRITER, str(path), str(first), str(end)]
    process = subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    running.append(process)
    assert process.stdout is not None
    assert process.stdout.readline() == "ready\n"
    return process


def test_four_processes_make_one_ledger_and_write_each_entry_once(
    tmp_path: Path, writers: list[subprocess.Popen[str]]
) -> None:
    """All start on a folder without a ledger and add the same 40 keys: 40 entries, one chain."""
    path = tmp_path / "ledger.db"
    for _ in range(4):
        start(writers, path, 0, 40)
    for process in writers:
        assert process.stdin is not None
        process.stdin.write("go\n")
        process.stdin.flush()
    for process in writers:
        assert process.wait(timeout=60) == 0
    ledger = Ledger(path)
    assert sorted(entry.body["number"] for entry in ledger.entries()) == list(range(40))
    assert ledger.verify() == ()


def test_a_reader_who_comes_while_the_ledger_is_made_finds_nothing_wrong(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Another process makes the ledger between the reader's first question and its second."""
    path = tmp_path / "ledger.db"
    path.touch()
    opened = Ledger._open

    class Interrupted:
        def __init__(self, connection: sqlite3.Connection) -> None:
            self.connection, self.execute = connection, self.first

        def first(self, query: str) -> sqlite3.Cursor:
            (row,) = self.connection.execute(query).fetchall()
            self.execute = self.connection.execute
            monkeypatch.setattr(Ledger, "_open", opened)
            Ledger(path).append("note", "first", {"number": 1})
            return self.execute("SELECT ?", row)

    @contextmanager
    def interrupted(self: Ledger, mode: str) -> Iterator[Interrupted]:
        with opened(self, mode) as connection:
            yield Interrupted(connection)

    monkeypatch.setattr(Ledger, "_open", interrupted)
    assert [entry.key for entry in Ledger(path).entries()] == ["first"]


@pytest.mark.threat("F3")
def test_a_killed_writer_loses_nothing_that_it_reported(
    tmp_path: Path, writers: list[subprocess.Popen[str]]
) -> None:
    path = tmp_path / "ledger.db"
    reported = 0
    for turn in range(4):
        process = start(writers, path, 1000 * turn, 1000 * turn + 1000)
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write("go\n")
        process.stdin.flush()
        process.stdout.readline()
        # the kill meets the writer in another place each time; no place gives a wrong result
        time.sleep(0.02 * turn)
        process.send_signal(signal.SIGKILL)
        lines = process.stdout.read().split()
        process.wait()
        reported += 1 + len(lines)
        ledger = Ledger(path)
        assert ledger.verify() == ()
        # an entry may have been written whose number did not come through the pipe any more, and no
        # other
        assert reported <= len(ledger.entries()) <= reported + turn + 1
    assert Ledger(path).append("opened", "after", {}).sequence == len(Ledger(path).entries())


FULL = """
import resource, sys
from pathlib import Path
from plumbline.lineage.ledger import Ledger
from plumbline.errors import LedgerError
ledger = Ledger(Path(sys.argv[1]))
ledger.append("opened", "first", {})
resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))
try:
    for number in range(1000):
        ledger.append("opened", f"key-{number}", {"text": "x" * 20_000})
        print(number, flush=True)
except LedgerError as error:
    print("refused:", error)
"""


def test_a_full_disk_loses_nothing_that_was_recorded(tmp_path: Path) -> None:
    """Files may grow to 200 kB in the first process: it is told so with the path, and the next
    process goes on with an unbroken chain."""
    path = tmp_path / "ledger.db"
    done = subprocess.run(
        [sys.executable, "-c", FULL, str(path)],
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONDONTWRITEBYTECODE": "1"},
    )
    *numbers, refused = done.stdout.splitlines()
    assert refused.startswith(f"refused: {path}: the ledger cannot be used"), (
        done.stdout + done.stderr
    )
    ledger = Ledger(path)
    assert ledger.verify() == ()
    assert [entry.key for entry in ledger.entries()] == [
        "first",
        *(f"key-{number}" for number in numbers),
    ]
    assert 2 < ledger.append("opened", "after", {}).sequence == len(numbers) + 2
