"""Migrations of the feedback store: every database ends with the tables of `plumbline.data.store.tables`,
whatever made it.

A step is a file in `versions/`; it is never changed after a release, because databases remember
which steps they took.
"""

from pathlib import Path
from typing import TYPE_CHECKING

from plumbline.errors import DataError

if TYPE_CHECKING:
    from sqlalchemy import Connection

FOLDER = Path(__file__).parent
NEWEST = "0003"
"""The step that makes the tables of this code; a database that took it is ready, which is seen
without loading alembic."""
BEFORE_MIGRATIONS = "0001"
"""The step that makes the same tables as the code that did not record its steps."""


def version_of(connection: "Connection") -> str | None:
    """The last step that a database took; None for a new one, and for one that was made before
    steps were recorded."""
    from sqlalchemy import inspect, text

    if not inspect(connection).has_table("alembic_version"):
        return None
    row = connection.execute(text("SELECT version_num FROM alembic_version")).first()
    return None if row is None else str(row.version_num)


def migrate(connection: "Connection", where: str) -> None:
    """Take every step that a database lacks, inside the transaction of the connection: all of them,
    or none on an error.

    Args:
        connection: In a transaction that no other process runs at the same time.
        where: The database's name for people.

    Raises:
        DataError: If a newer Plumbline made the database.
    """
    from alembic import command
    from alembic.config import Config
    from alembic.script import ScriptDirectory
    from sqlalchemy import inspect

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
