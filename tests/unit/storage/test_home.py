"""The feedback store of a home: its own file, or the database that PLUMBLINE_FEEDBACK_URL names."""

import sys
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.cli.options import opened
from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.errors import DataError
from plumbline.storage.home import HomeLayout
from tests.unit.in_memory import add_events

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.delenv("PLUMBLINE_FEEDBACK_URL", raising=False)
    return HomeLayout(tmp_path / "home", "sandbox")


def test_a_profile_has_a_file_of_its_own(layout):
    assert layout.feedback_url == f"sqlite:///{layout.root}/profiles/sandbox/feedback.db"
    assert layout.inbox == layout.root / "profiles" / "sandbox" / "inbox"
    assert not layout.has_feedback
    with opened(layout) as store:
        assert store.open_events().events == 0
    assert layout.has_feedback


def test_the_variable_names_another_database_one_for_each_profile_if_it_says_so(
    layout, monkeypatch
):
    monkeypatch.setenv("PLUMBLINE_FEEDBACK_URL", "postgresql+psycopg2://host/plumbline_{profile}")
    assert layout.feedback_url == "postgresql+psycopg2://host/plumbline_sandbox"
    assert (
        HomeLayout(layout.root, "other").feedback_url
        == "postgresql+psycopg2://host/plumbline_other"
    )
    assert layout.has_feedback


def test_commands_use_the_database_of_the_variable(layout, monkeypatch, feedback_url, make_event):
    monkeypatch.setenv("PLUMBLINE_FEEDBACK_URL", feedback_url)
    monkeypatch.setenv("PLUMBLINE_HOME", str(layout.root))
    with opened(layout) as store:
        add_events(store, [make_event(annotator="rater-07")], NOW)
    result = CliRunner().invoke(
        build_app(),
        [
            "people",
            "consent",
            "withdraw",
            "--person",
            "rater-07",
            "--by",
            "Ada",
            "--reason",
            "asked",
        ],
    )
    assert result.exit_code == 0, result.output
    assert "1 events in the feedback store are concerned" in result.stdout
    with opened(layout) as store:
        assert [one.subject for one in Withdrawals(store.database).all()] == ["rater-07"]
    assert not layout.feedback_db.exists()


def test_a_server_that_does_not_answer_is_named_without_its_password(layout, monkeypatch):
    monkeypatch.setenv(
        "PLUMBLINE_FEEDBACK_URL", "postgresql+psycopg2://ada:geheim@127.0.0.1:1/plumbline"
    )
    with (
        pytest.raises(
            DataError, match=r"ada:\*\*\*@127.0.0.1:1/plumbline: the feedback store cannot be used"
        ) as caught,
        opened(layout) as store,
    ):
        store.open_events()
    assert "geheim" not in str(caught.value)


def test_a_missing_driver_is_named(layout, monkeypatch):
    monkeypatch.setenv("PLUMBLINE_FEEDBACK_URL", "postgresql+psycopg2://127.0.0.1:1/plumbline")
    monkeypatch.setitem(sys.modules, "psycopg2", None)
    with (
        pytest.raises(
            DataError,
            match=(
                r"the driver psycopg2 is not installed; install it with `pip install"
                r" 'plumbline\[postgres\]'`"
            ),
        ),
        opened(layout) as store,
    ):
        store.open_events()
