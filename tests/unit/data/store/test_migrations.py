import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
import sqlalchemy

from plumbline.data.store import migrations
from plumbline.data.store.database import Database
from plumbline.data.store.events import FeedbackStore
from plumbline.errors import DataError
from tests.unit.in_memory import add_events

ROOT = Path(__file__).parents[4]
NOW = datetime(2026, 2, 1, tzinfo=UTC)
FIRST = ("batches", "events", "claims")


@pytest.fixture
def engine(feedback_url, tmp_path):
    (tmp_path / "new").mkdir()
    engine = sqlalchemy.create_engine(feedback_url, poolclass=sqlalchemy.pool.NullPool)
    yield engine
    engine.dispose()


def as_made_before_migrations(engine):
    tables = Database("sqlite:////nowhere/x.db").tables
    tables.metadata.create_all(engine, tables=[getattr(tables, name) for name in FIRST])


@pytest.mark.parametrize("make", [migrations.take_steps, migrations.migrate])
def test_the_steps_and_a_new_database_have_exactly_the_tables_of_the_code(
    feedback_url, engine, make
):
    """alembic compares tables, columns, types, indexes, unique constraints and foreign keys; an
    empty list means no difference."""
    from alembic.autogenerate import compare_metadata
    from alembic.migration import MigrationContext

    database = Database(feedback_url)
    with engine.begin() as connection:
        make(connection, "new")
    with engine.connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, database.tables.metadata) == []
        assert migrations.version_of(connection) == migrations.NEWEST


def test_the_newest_step_is_the_one_that_the_code_expects():
    from alembic.config import Config
    from alembic.script import ScriptDirectory

    config = Config()
    config.set_main_option("script_location", str(migrations.FOLDER))
    assert ScriptDirectory.from_config(config).get_heads() == [migrations.NEWEST]


def test_a_database_of_the_code_before_migrations_keeps_its_events(
    feedback_url, engine, make_event
):
    as_made_before_migrations(engine)
    events = [make_event("a"), make_event("b")]
    with engine.begin() as connection:
        connection.execute(
            sqlalchemy.text(
                "INSERT INTO batches VALUES ('old', 'sha256:x', 1,"
                " '2026-01-01T00:00:00.000000+00:00')"
            )
        )
        row = sqlalchemy.text(
            "INSERT INTO events VALUES (:id, :body, '2026-01-01T00:00:00.000000+00:00', :batch)"
        )
        connection.execute(
            row,
            [
                {"id": e.id, "body": e.to_json(), "batch": batch}
                for e, batch in zip(events, ("old", None), strict=True)
            ],
        )
    store = FeedbackStore(feedback_url)
    assert add_events(store, events, NOW).duplicate == 2
    assert [batch.id for batch in store.batches()] == ["old"]
    with store.database.reading() as connection:
        assert migrations.version_of(connection) == migrations.NEWEST


def test_a_database_of_newer_code_is_refused_and_left_alone(feedback_url, engine):
    with FeedbackStore(feedback_url).database.writing():
        pass
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("UPDATE alembic_version SET version_num = '9999'"))
    with pytest.raises(
        DataError, match=r"was made by a newer Plumbline \(step 9999; this one knows steps up to"
    ):
        FeedbackStore(feedback_url).open_events()
    with engine.connect() as connection:
        assert migrations.version_of(connection) == "9999"


def test_a_failed_migration_leaves_the_database_as_it_was(feedback_url, engine):
    """The second step fails at its last table, which is there already: its other tables must not
    stay, nor the record of the first step."""
    as_made_before_migrations(engine)
    with engine.begin() as connection:
        connection.execute(sqlalchemy.text("CREATE TABLE tasks (id INTEGER)"))
    with pytest.raises(sqlalchemy.exc.DBAPIError, match="tasks"):
        FeedbackStore(feedback_url).open_events()
    assert set(sqlalchemy.inspect(engine).get_table_names()) == {*FIRST, "tasks"}


OPENER = """
import sys, time
from pathlib import Path
from plumbline.data.store.events import FeedbackStore
url, folder, name = sys.argv[1], Path(sys.argv[2]), sys.argv[3]
(folder / f"ready-{name}").touch()
while len(list(folder.glob("ready-*"))) < 4:
    time.sleep(0.001)
print(FeedbackStore(url).open_events().events)
"""


@pytest.mark.parametrize("old", [False, True], ids=["new", "before migrations"])
def test_four_processes_open_a_database_for_the_first_time_at_once(
    feedback_url, engine, tmp_path, old
):
    if old:
        as_made_before_migrations(engine)
    commands = [
        [sys.executable, "-c", OPENER, feedback_url, str(tmp_path), str(n)] for n in range(4)
    ]
    openers = [
        subprocess.Popen(
            command, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
        )
        for command in commands
    ]
    answers = [opener.communicate(timeout=120) for opener in openers]
    assert [
        (opener.returncode, out) for opener, (out, _) in zip(openers, answers, strict=True)
    ] == [(0, "0\n")] * 4, answers
    with engine.connect() as connection:
        assert migrations.version_of(connection) == migrations.NEWEST
