"""The database of the feedback store: tables, connections, and one writer at a time."""

import sqlite3
import time
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

from plumbline.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine, MetaData, Table

BUSY_TIMEOUT_SECONDS = 60
_ADVISORY_LOCK = 0x706C756D62  # "plumb": the PostgreSQL lock that makes writers take turns


class Tables(NamedTuple):
    """The tables of the feedback store."""

    metadata: "MetaData"
    batches: "Table"
    events: "Table"
    claims: "Table"


def to_text(instant: datetime) -> str:
    """A time as fixed-width ISO 8601 in UTC, which sorts like the time itself; SQLite would forget the time zone.

    Raises:
        DataError: If the time has no time zone.
    """
    if instant.tzinfo is None:
        raise DataError(f"the time {instant.isoformat()} has no time zone; give it one, for example UTC")
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


class Database:
    """A SQLite or PostgreSQL database whose tables are made on first use.

    Raises:
        DataError: If the URL is neither `sqlite:///<path>` nor `postgresql+psycopg2://...`.
    """

    def __init__(self, url: str) -> None:
        from sqlalchemy.engine import make_url
        from sqlalchemy.exc import ArgumentError

        try:
            self._url = make_url(url)
        except ArgumentError as error:
            raise DataError("the URL of the feedback store cannot be read; use sqlite:///<path> or postgresql+psycopg2://...") from error
        backend = self._url.get_backend_name()
        if backend not in ("sqlite", "postgresql") or (backend == "sqlite" and self._url.database in (None, "", ":memory:")):
            shown = self._url.render_as_string(hide_password=True)
            raise DataError(f"feedback store {shown}: must keep what it is given; use sqlite:///<path> or postgresql+psycopg2://...")
        self._sqlite = backend == "sqlite"

    @cached_property
    def tables(self) -> Tables:
        """The table definitions."""
        from sqlalchemy import Column, ForeignKey, Index, Integer, LargeBinary, MetaData, String, Table

        metadata = MetaData()
        batches = Table(
            "batches",
            metadata,
            Column("id", String(64), primary_key=True),
            Column("digest", String(71), nullable=False, unique=True),
            Column("events", Integer, nullable=False),
            Column("closed_at", String(32), nullable=False),
        )
        events = Table(
            "events",
            metadata,
            Column("id", String(64), primary_key=True),
            Column("body", LargeBinary, nullable=False),
            Column("received_at", String(32), nullable=False),
            Column("batch_id", String(64), ForeignKey("batches.id"), nullable=True),
            Index("events_by_batch", "batch_id", "received_at", "id"),
        )
        claims = Table(
            "claims",
            metadata,
            Column("digest", String(71), primary_key=True),
            Column("claimant", String(256), nullable=False),
            Column("claimed_at", String(32), nullable=False),
        )
        return Tables(metadata, batches, events, claims)

    @contextmanager
    def reading(self) -> "Iterator[Connection]":
        """A connection for one consistent read."""
        with self._engine.connect() as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> "Iterator[Connection]":
        """A transaction that no other writer, in any process, runs at the same time; it commits at the end, or rolls back on an error."""
        with self._locked(self._engine) as connection:
            yield connection

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        if "_engine" in self.__dict__:
            self._engine.dispose()
            del self.__dict__["_engine"]

    @cached_property
    def _engine(self) -> "Engine":
        from sqlalchemy import create_engine, event
        from sqlalchemy.pool import NullPool

        if not self._sqlite:
            engine = create_engine(self._url, pool_pre_ping=True)
        else:
            Path(str(self._url.database)).parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(self._url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_SECONDS})
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        with self._locked(engine) as connection:
            self.tables.metadata.create_all(connection)
        if self._sqlite:
            _use_write_ahead_log(engine)
        return engine

    @contextmanager
    def _locked(self, engine: "Engine") -> "Iterator[Connection]":
        from sqlalchemy import text

        with engine.connect().execution_options(plumbline_write=True) as connection, connection.begin():
            if not self._sqlite:
                connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK})
            yield connection


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions behind our back
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: "Connection") -> None:
    # IMMEDIATE takes the write lock at once, so that two writers queue up instead of failing when they both upgrade a read lock.
    writes = connection.get_execution_options().get("plumbline_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _use_write_ahead_log(engine: "Engine") -> None:
    """Switch the file to WAL once; it stays so, and readers then never wait for a writer.

    The switch needs the file for itself, and SQLite does not wait for that: several processes that make the file together have to try again.
    """
    deadline = time.monotonic() + BUSY_TIMEOUT_SECONDS
    raw = engine.raw_connection()
    try:
        cursor = raw.cursor()
        while cursor.execute("PRAGMA journal_mode").fetchone()[0] != "wal":
            try:
                cursor.execute("PRAGMA journal_mode = WAL")
            except sqlite3.OperationalError:
                if time.monotonic() > deadline:
                    raise
                time.sleep(0.05)
    finally:
        raw.close()
