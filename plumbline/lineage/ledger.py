"""The ledger: what was opened, signed, routed and promoted, in order, each entry bound to the one
before it.

::

    hash(n) = SHA-256 of canonical JSON
              {sequence, kind, key, body_digest, previous: hash(n - 1), recorded_at}

One SQLite file for the whole home. Entries are only added: a pair of kind and key stands once,
triggers refuse every change, and an edited, removed or moved entry breaks the chain that
`Ledger.verify` recomputes. Whoever can write the file can also rewrite all of it or cut off its
end; that shows only against a head that was noted elsewhere. Every signature holds one (see
`plumbline.release.signing.envelopes`), and `plumbline audit ledger verify --head` takes one. Order
is the sequence; `recorded_at` is what the writer's clock claimed.
"""

import fcntl
import json
import re
import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Final

from pydantic import Field

from plumbline.errors import LedgerConflict, LedgerError
from plumbline.lineage.findings import Finding
from plumbline.records import Record, canonical_json, sha256

GENESIS: Final = "sha256:" + "0" * 64
"""Head of a ledger without entries, and what its first entry calls the one before it."""
BUSY_TIMEOUT_SECONDS: Final = 60.0
RESTORE: Final = (
    "restore the ledger from a copy; no release can be signed or promoted on it until then"
)

_VERSION: Final = 1
_KIND = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
# Every byte counts: `verify` compares these texts with those that a ledger was made with.
_SCHEMA: Final = {
    "ledger": (
        "CREATE TABLE ledger (\n"
        "        sequence INTEGER PRIMARY KEY, kind TEXT NOT NULL, key TEXT NOT NULL,"
        " body TEXT NOT NULL, body_digest TEXT NOT NULL,\n"
        "        previous TEXT NOT NULL, hash TEXT NOT NULL UNIQUE, recorded_at TEXT NOT NULL,"
        " UNIQUE (kind, key))"
    ),
    "ledger_no_update": (
        "CREATE TRIGGER ledger_no_update BEFORE UPDATE ON ledger BEGIN SELECT RAISE(ABORT, 'the"
        " ledger is append-only'); END"
    ),
    "ledger_no_delete": (
        "CREATE TRIGGER ledger_no_delete BEFORE DELETE ON ledger BEGIN SELECT RAISE(ABORT, 'the"
        " ledger is append-only'); END"
    ),
    # without this one, INSERT OR REPLACE would remove a row without waking the trigger on deletion
    "ledger_in_order": (
        "CREATE TRIGGER ledger_in_order BEFORE INSERT ON ledger\n"
        "        WHEN NEW.sequence IS NOT (SELECT COALESCE(MAX(sequence), 0) + 1 FROM ledger)"
        " OR EXISTS (SELECT 1 FROM ledger WHERE kind = NEW.kind AND key = NEW.key)\n"
        "        BEGIN SELECT RAISE(ABORT, 'the ledger is append-only'); END"
    ),
}
_INSERT: Final = (
    "INSERT INTO ledger (sequence, kind, key, body, body_digest, previous, hash, recorded_at)"
    " VALUES (?, ?, ?, ?, ?, ?, ?, ?)"
)
_ALL: Final = (
    "SELECT sequence, kind, key, body, body_digest, previous, hash, recorded_at FROM ledger ORDER"
    " BY sequence"
)
_LAST: Final = (
    "SELECT sequence, kind, key, body, body_digest, previous, hash, recorded_at FROM ledger ORDER"
    " BY sequence DESC LIMIT 1"
)
_OF_KIND: Final = (
    "SELECT sequence, kind, key, body, body_digest, previous, hash, recorded_at FROM ledger WHERE"
    " kind = ? ORDER BY sequence"
)
_OF_KEY: Final = (
    "SELECT sequence, kind, key, body, body_digest, previous, hash, recorded_at FROM ledger WHERE"
    " kind = ? AND key = ?"
)


class LedgerEntry(Record):
    """One entry, as it was written."""

    sequence: int = Field(ge=1, description="place in the ledger, from 1")
    kind: str = Field(description="what it is, for example `vault-opening` or `promotion`")
    key: str = Field(description="what it is about; stands once within its kind")
    body: dict[str, Any]
    body_digest: str = Field(description="digest of the canonical JSON of the body")
    previous: str = Field(description="hash of the entry before it; `GENESIS` for the first")
    hash: str
    recorded_at: str = Field(
        description="ISO 8601 in UTC, as the clock of the writer claimed; the order is the sequence"
    )

    def problem(self) -> str | None:
        """Why this entry does not agree with itself, or None."""
        digest = sha256(canonical_json(self.body))
        if digest != self.body_digest:
            return f"its body has the digest {digest}, not the recorded {self.body_digest}"
        expected = _hash(
            self.sequence, self.kind, self.key, self.body_digest, self.previous, self.recorded_at
        )
        return (
            None
            if self.hash == expected
            else f"its fields give the hash {expected}, not the recorded {self.hash}"
        )


class Ledger:
    """The ledger in one SQLite file, which the first `append` makes; every call opens and closes
    it, so processes share it freely.

    Every method raises `LedgerError` if the file cannot be used, or if an entry that it reads
    disagrees with itself.
    """

    def __init__(self, path: Path) -> None:
        self.path = path

    def append(self, kind: str, key: str, body: Mapping[str, Any]) -> LedgerEntry:
        """Add an entry durably; what already stands there with this very body is returned instead,
        so that a retry changes nothing.

        Raises:
            LedgerConflict: If an entry of this kind and key says something else.
            ValueError: If the kind is no name, the key is empty, or the body is not JSON.
        """
        if not _KIND.fullmatch(kind) or not key:
            raise ValueError(
                f"a ledger entry needs a kind like 'vault-opening' and a key, not {kind!r} and"
                f" {key!r}"
            )
        text = canonical_json(dict(body)).decode()
        digest = sha256(text.encode())
        with self._writing() as connection:
            rows = _rows(self.path, connection, _OF_KEY, (kind, key))
            if rows:
                return self._same(rows[0], digest)
            last = _rows(self.path, connection, _LAST)
            sequence, previous = (last[0].sequence + 1, last[0].hash) if last else (1, GENESIS)
            at = datetime.now(UTC).isoformat(timespec="microseconds")
            entry = LedgerEntry(
                sequence=sequence,
                kind=kind,
                key=key,
                body=json.loads(text),
                body_digest=digest,
                previous=previous,
                hash=_hash(sequence, kind, key, digest, previous, at),
                recorded_at=at,
            )
            values = (sequence, kind, key, text, digest, previous, entry.hash, at)
            connection.execute(_INSERT, values)
            return entry

    def entries(self, kind: str | None = None) -> tuple[LedgerEntry, ...]:
        """Entries in their order, all or those of one kind; none when nothing was ever recorded."""
        with self._reading() as connection:
            if connection is None:
                return ()
            return (
                _rows(self.path, connection, _ALL)
                if kind is None
                else _rows(self.path, connection, _OF_KIND, (kind,))
            )

    def find(self, kind: str, key: str) -> LedgerEntry | None:
        """The entry of a kind and key, or None."""
        with self._reading() as connection:
            rows = () if connection is None else _rows(self.path, connection, _OF_KEY, (kind, key))
            return rows[0] if rows else None

    def head(self) -> str:
        """Hash of the newest entry, `GENESIS` when there is none: whoever notes it can prove later
        that nothing before it was changed or cut off."""
        with self._reading() as connection:
            rows = () if connection is None else _rows(self.path, connection, _LAST)
            return rows[0].hash if rows else GENESIS

    def verify(self, head: str | None = None) -> tuple[Finding, ...]:
        """Recompute the whole chain; everything that is wrong with it, empty when it holds.

        Args:
            head: A head that was noted earlier; that it is missing shows that the ledger was cut
                off or written anew.
        """
        with self._reading() as connection:
            if connection is None:
                return tuple(_missing_head(head, {GENESIS}, self.path))
            schema = dict(
                connection.execute("SELECT name, sql FROM sqlite_schema WHERE sql IS NOT NULL")
            )
            damage = [
                row[0] for row in connection.execute("PRAGMA integrity_check") if row[0] != "ok"
            ]
            rows = connection.execute(_ALL).fetchall()
        findings = [
            _finding(GENESIS, f"{self.path}: SQLite finds the file damaged", None, line)
            for line in damage
        ]
        for name in sorted(_SCHEMA.keys() | schema.keys()):
            if schema.get(name) != _SCHEMA.get(name):
                what = (
                    f"{self.path}: '{name}', which is part of the protection of the ledger, was"
                    " changed"
                )
                findings.append(_finding(GENESIS, what, _SCHEMA.get(name), schema.get(name)))
        entries = [_unchecked(self.path, row) for row in rows]
        heads = {GENESIS, *(entry.hash for entry in entries)}
        return (*findings, *_broken_links(entries), *_missing_head(head, heads, self.path))

    def _same(self, entry: LedgerEntry, digest: str) -> LedgerEntry:
        if entry.body_digest == digest:
            return entry
        raise LedgerConflict(
            f"{self.path}: entry {entry.sequence} already records {entry.kind} '{entry.key}' with"
            f" other content ({entry.body_digest}, not {digest}); the ledger is never changed: what"
            " is new needs a key of its own"
        )

    @contextmanager
    def _writing(self) -> Iterator[sqlite3.Connection]:
        """A transaction that no other writer, in any process, runs at the same time."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self._open("rwc") as connection:
            if connection.execute("PRAGMA user_version").fetchone()[0] != _VERSION:
                self._make(connection)
            connection.execute("PRAGMA synchronous = FULL")
            connection.execute("BEGIN IMMEDIATE")
            try:
                yield connection
            except BaseException:
                if connection.in_transaction:  # a full disk has ended it already
                    connection.execute("ROLLBACK")
                raise
            connection.execute("COMMIT")

    @contextmanager
    def _reading(self) -> Iterator[sqlite3.Connection | None]:
        """A connection that cannot write; None while nothing was recorded."""
        if not self.path.exists():
            yield None
            return
        with self._open("ro") as connection:
            # In this order: whoever makes the ledger in between writes tables and version at once.
            (tables,) = connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()
            (version,) = connection.execute("PRAGMA user_version").fetchone()
            if version not in (0, _VERSION):
                raise LedgerError(
                    f"{self.path}: is a ledger of version {version}, this is version {_VERSION};"
                    " use the newer Plumbline that wrote it"
                )
            if version == 0 and tables:
                raise LedgerError(f"{self.path}: is a database, but not a ledger; {RESTORE}")
            connection.execute("BEGIN")  # one snapshot for everything that is read
            yield connection if version else None

    @contextmanager
    def _open(self, mode: str) -> Iterator[sqlite3.Connection]:
        try:
            connection = sqlite3.connect(
                f"{self.path.absolute().as_uri()}?mode={mode}",
                uri=True,
                timeout=BUSY_TIMEOUT_SECONDS,
                isolation_level=None,
            )
            try:
                yield connection
            finally:
                connection.close()
        except sqlite3.Error as error:
            raise LedgerError(
                f"{self.path}: the ledger cannot be used: {error}. Check the rights and the room on"
                f" its disk, or {RESTORE}"
            ) from error

    def _make(self, connection: sqlite3.Connection) -> None:
        """Make the table once. The switch to a write-ahead log needs the file for itself and SQLite
        does not wait for that, so a file lock does."""
        with self.path.with_suffix(".lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            version = connection.execute("PRAGMA user_version").fetchone()[0]
            if version == _VERSION:
                return
            if (
                version != 0
                or connection.execute("SELECT COUNT(*) FROM sqlite_schema").fetchone()[0]
            ):
                raise LedgerError(
                    f"{self.path}: is a database, but not a ledger of version {_VERSION}; {RESTORE}"
                )
            connection.execute("PRAGMA journal_mode = WAL")
            connection.execute("BEGIN IMMEDIATE")
            for statement in _SCHEMA.values():
                connection.execute(statement)
            connection.execute(f"PRAGMA user_version = {_VERSION}")
            connection.execute("COMMIT")


def _hash(
    sequence: int, kind: str, key: str, body_digest: str, previous: str, recorded_at: str
) -> str:
    fields = {
        "sequence": sequence,
        "kind": kind,
        "key": key,
        "body_digest": body_digest,
        "previous": previous,
        "recorded_at": recorded_at,
    }
    return sha256(canonical_json(fields))


def _rows(
    path: Path, connection: sqlite3.Connection, query: str, values: tuple[str, ...] = ()
) -> tuple[LedgerEntry, ...]:
    """Entries that agree with themselves.

    Raises:
        LedgerError: If one does not.
    """
    entries = tuple(_unchecked(path, row) for row in connection.execute(query, values))
    for entry in entries:
        problem = entry.problem()
        if problem is not None:
            raise LedgerError(
                f"{path}: entry {entry.sequence} ({entry.kind} {entry.key}) was changed after it"
                f" was written: {problem}; {RESTORE}"
            )
    return entries


def _unchecked(path: Path, row: tuple[Any, ...]) -> LedgerEntry:
    sequence, kind, key, body, body_digest, previous, digest, at = row
    try:
        return LedgerEntry(
            sequence=sequence,
            kind=kind,
            key=key,
            body=json.loads(body),
            body_digest=body_digest,
            previous=previous,
            hash=digest,
            recorded_at=at,
        )
    except (TypeError, ValueError) as error:
        raise LedgerError(
            f"{path}: entry {sequence!r} is not readable, so it was changed after it was written:"
            f" {error}; {RESTORE}"
        ) from error


def _broken_links(entries: Iterable[LedgerEntry]) -> Iterator[Finding]:
    """What is wrong with the entries themselves, and with their order."""
    previous, sequence = GENESIS, 1
    for entry in entries:
        where = f"ledger entry {entry.sequence} ({entry.kind} {entry.key})"
        if entry.sequence != sequence:
            what = f"{where}: stands where entry {sequence} should be"
            yield _finding(entry.hash, what, str(sequence), str(entry.sequence))
        if entry.previous != previous:
            what = f"{where}: does not follow from the entry before it"
            yield _finding(entry.hash, what, previous, entry.previous)
        if (problem := entry.problem()) is not None:
            what = f"{where}: was changed after it was written: {problem}"
            yield _finding(entry.hash, what, None, None)
        previous, sequence = entry.hash, entry.sequence + 1


def _missing_head(head: str | None, heads: set[str], path: Path) -> Iterator[Finding]:
    if head is not None and head not in heads:
        what = (
            f"{path}: the ledger does not contain the head that was noted earlier, so entries were"
            " cut off at its end or it was written anew"
        )
        yield _finding(head, what, head, None)


def _finding(artifact: str, what: str, expected: str | None, found: str | None) -> Finding:
    return Finding(artifact=artifact, what=what, expected=expected, found=found, remedy=RESTORE)
