"""The database of the feedback store: tables, connections, and one writer at a time."""

import itertools
import sqlite3
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import Final, TypeVar

from sqlalchemy import Connection, Engine, create_engine, event, text
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError
from sqlalchemy.pool import NullPool

from plumbline.data.store.migrations import NEWEST, migrate, version_of
from plumbline.data.store.tables import Tables, define_tables
from plumbline.errors import DataError

Item = TypeVar("Item")
BUSY_TIMEOUT_SECONDS = 60
CHUNK: Final = 200
"""Rows in memory at once, and ids named in one statement."""
_ADVISORY_LOCK = 0x706C756D62  # "plumb": the PostgreSQL lock that makes writers take turns


def to_text(instant: datetime) -> str:
    """A time as fixed-width ISO 8601 in UTC, which sorts like the time itself; SQLite would forget
    the time zone.

    Raises:
        DataError: If the time has no time zone.
    """
    if instant.tzinfo is None:
        raise DataError(
            f"the time {instant.isoformat()} has no time zone; give it one, for example UTC"
        )
    return instant.astimezone(UTC).isoformat(timespec="microseconds")


def chunks(items: Iterable[Item]) -> Iterator[list[Item]]:
    """The items, at most `CHUNK` at a time."""
    remaining = iter(items)
    while chunk := list(itertools.islice(remaining, CHUNK)):
        yield chunk


class Database:
    """A SQLite or PostgreSQL database whose tables are made, or brought to this version, on first
    use.

    Raises:
        DataError: If the URL is neither `sqlite:///<path>` nor `postgresql+psycopg2://...`.
    """

    def __init__(self, url: str) -> None:
        try:
            self._url = make_url(url)
        except ArgumentError as error:
            raise DataError(
                "the URL of the feedback store cannot be read; use sqlite:///<path> or"
                " postgresql+psycopg2://..."
            ) from error
        backend = self._url.get_backend_name()
        if backend not in ("sqlite", "postgresql") or (
            backend == "sqlite" and self._url.database in (None, "", ":memory:")
        ):
            shown = self._url.render_as_string(hide_password=True)
            raise DataError(
                f"feedback store {shown}: must keep what it is given; use sqlite:///<path> or"
                " postgresql+psycopg2://..."
            )
        self._sqlite = backend == "sqlite"

    @property
    def tables(self) -> Tables:
        """The table definitions."""
        return define_tables()

    @property
    def name(self) -> str:
        """What people call the database: the file, or the URL without its password."""
        return (
            str(self._url.database)
            if self._sqlite
            else self._url.render_as_string(hide_password=True)
        )

    @contextmanager
    def reading(self) -> Iterator[Connection]:
        """A connection for one consistent read."""
        # SQLite reads from one snapshot anyway; PostgreSQL would take a new one for every
        # statement.
        options = {} if self._sqlite else {"isolation_level": "REPEATABLE READ"}
        with self._engine.connect().execution_options(**options) as connection, connection.begin():
            yield connection

    @contextmanager
    def writing(self) -> Iterator[Connection]:
        """A transaction that no other writer, in any process, runs at the same time; it commits at
        the end, or rolls back on an error."""
        with self._locked(self._engine) as connection:
            yield connection

    def reclaim(self) -> None:
        """Rewrite the files of the database, so that what was deleted or overwritten is in none of
        them any more.

        PostgreSQL's archives and copies of the database are not reached: they are their keeper's to
        clear.

        Raises:
            DataError: If another process keeps reading an older state.
        """
        if not self._sqlite:
            with self._engine.connect().execution_options(
                isolation_level="AUTOCOMMIT"
            ) as connection:
                for table in (self.tables.events, self.tables.quarantined_rows):
                    connection.execute(text(f"VACUUM FULL {table.name}"))
                connection.execute(text("CHECKPOINT"))
            return
        raw = self._engine.raw_connection()
        try:
            cursor = raw.cursor()
            cursor.execute("VACUUM")
            busy = cursor.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
        finally:
            raw.close()
        if busy:
            raise DataError(
                f"{self.name}: another process reads it, so that old text is still in its log file;"
                " run the command again when it is done"
            )

    def close(self) -> None:
        """Close every connection; the next use opens new ones."""
        if "_engine" in self.__dict__:
            self._engine.dispose()
            del self.__dict__["_engine"]

    @cached_property
    def _engine(self) -> Engine:
        if not self._sqlite:
            try:
                engine = create_engine(self._url, pool_pre_ping=True)
            except ModuleNotFoundError as error:
                raise DataError(
                    f"{self.name}: the driver {error.name} is not installed; install it with `pip"
                    " install 'plumbline[postgres]'`"
                ) from error
        else:
            Path(str(self._url.database)).parent.mkdir(parents=True, exist_ok=True)
            engine = create_engine(
                self._url, poolclass=NullPool, connect_args={"timeout": BUSY_TIMEOUT_SECONDS}
            )
            event.listen(engine, "connect", _prepare_sqlite)
            event.listen(engine, "begin", _begin_sqlite)
        with engine.connect() as connection:
            version = version_of(connection)
        if version != NEWEST:
            # Of several processes that find an old or new database, the first migrates it and the
            # others find nothing left to do.
            with self._locked(engine) as connection:
                migrate(connection, self.name)
        if self._sqlite:
            _use_write_ahead_log(engine)
        return engine

    @contextmanager
    def _locked(self, engine: Engine) -> Iterator[Connection]:
        with (
            engine.connect().execution_options(plumbline_write=True) as connection,
            connection.begin(),
        ):
            if not self._sqlite:
                connection.execute(
                    text("SELECT pg_advisory_xact_lock(:key)"), {"key": _ADVISORY_LOCK}
                )
            yield connection


def _prepare_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    connection.isolation_level = None  # the driver must not begin transactions behind our back
    connection.execute("PRAGMA foreign_keys = ON")


def _begin_sqlite(connection: Connection) -> None:
    # IMMEDIATE takes the write lock at once, so that two writers queue up instead of failing when
    # they both upgrade a read lock.
    writes = connection.get_execution_options().get("plumbline_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if writes else "BEGIN")


def _use_write_ahead_log(engine: Engine) -> None:
    """Switch the file to WAL once; it stays so, and readers then never wait for a writer.

    The switch needs the file for itself, and SQLite does not wait for that: several processes that
    make the file together have to try again.
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
