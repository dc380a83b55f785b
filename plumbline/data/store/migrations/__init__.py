"""Migrations of the feedback store: every database ends with the tables of
`plumbline.data.store.tables`, whatever made it.

A step is a file in `versions/`; it is never changed after a release, because databases remember
which steps they took.
"""

from pathlib import Path

from sqlalchemy import Connection, inspect, text

from plumbline.data.store.tables import define_tables
from plumbline.errors import DataError

FOLDER = Path(__file__).parent
NEWEST = "0003"
"""The step that makes the tables of this code; a database that took it is ready, which is seen
without loading alembic."""
BEFORE_MIGRATIONS = "0001"
"""The step that makes the same tables as the code that did not record its steps."""


def version_of(connection: Connection) -> str | None:
    """The last step that a database took; None for a new one, and for one that was made before
    steps were recorded."""
    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row.version_num)


def migrate(connection: Connection, where: str) -> None:
    """Bring a database to the tables of this code, inside the transaction of the connection: whole,
    or not at all on an error.

    Args:
        connection: In a transaction that no other process runs at the same time.
        where: The database's name for people.

    Raises:
        DataError: If a newer Plumbline made the database.
    """
    if version_of(connection) is None and not inspect(connection).has_table("events"):
        _make(connection)
    else:
        take_steps(connection, where)


def take_steps(connection: Connection, where: str) -> None:
    """Take every step that a database lacks.

    Raises:
        DataError: If a newer Plumbline made the database.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(FOLDER).replace("%", "%%"))
    config.attributes["connection"] = connection
    version = version_of(connection)
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if version is not None and version not in known:
        raise DataError(
            f"{where}: was made by a newer Plumbline (step {version}; this one knows steps up to"
            f" {NEWEST}). Use that version, or a newer one"
        )
    if version is None and inspect(connection).has_table("events"):
        command.stamp(config, BEFORE_MIGRATIONS)
    command.upgrade(config, "head")


def _make(connection: Connection) -> None:
    """Make the tables of a new database at once, which are those that all steps make, and record
    the newest step; alembic, which takes as long to load as all the rest, is not needed for it."""
    from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table

    define_tables().events.metadata.create_all(connection)
    steps = Table(
        "alembic_version",
        MetaData(),
        Column("version_num", String(32), nullable=False),
        PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
    )
    steps.create(connection)
    connection.execute(steps.insert().values(version_num=NEWEST))
