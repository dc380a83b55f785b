"""`plumbline feedback flags` on a feedback store."""

from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.data.screening.flags import AGREEMENT, TRIGGER, Flags
from plumbline.data.store.events import FeedbackStore
from plumbline.storage.home import HomeLayout

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def layout(tmp_path):
    return HomeLayout.from_environment(tmp_path)


@pytest.fixture
def flags(layout):
    layout.profile_folder.mkdir(parents=True)
    store = FeedbackStore(layout.feedback_url)
    yield Flags(store.database)
    store.close()


def run(layout, *words):
    return CliRunner().invoke(
        build_app(), ["feedback", "flags", *words, "--home", str(layout.root)]
    )


def test_without_feedback_there_is_nothing_to_list(layout):
    result = run(layout, "list")
    assert (result.exit_code, "no feedback yet" in result.output) == (0, True)


@pytest.mark.threat("P1")
def test_a_flag_is_listed_decided_and_listed_no_more(layout, flags):
    flag = flags.raise_flag(
        AGREEMENT,
        "rater-07",
        {"scope": "b-1", "votes": 400, "message": "agrees in 50.0% of 400 votes"},
        NOW,
    )
    listed = run(layout, "list").output
    assert (
        f"{flag.id}  annotator agreement  rater-07  [open]  agrees in 50.0% of 400 votes; in b-1;"
        " holds all events of the annotator" in listed
    )
    decided = run(
        layout, "decide", str(flag.id), "keep", "--by", "Ada", "--reason", "read forty votes"
    )
    assert decided.exit_code == 0
    assert "[keep by Ada: read forty votes]" in decided.output
    assert run(layout, "list").output == "no open flag; 1 decided\n"
    assert "rater-07" in run(layout, "list", "--all").output


def test_hostile_words_are_shown_escaped(layout, flags):
    flags.raise_flag(
        TRIGGER, "a\u202eb\x1b[2J\n0  fake", {"events": ["e1"], "message": "m", "scope": "b-1"}, NOW
    )
    output = run(layout, "list").output
    assert "a\\u{202e}b\\u{1b}[2J\\n0  fake" in output
    assert len(output.splitlines()) == 1


@pytest.mark.parametrize(
    "words",
    [
        ("9", "keep", "--by", "Ada", "--reason", "why"),
        ("1", "keep", "--by", "Ada", "--reason", " "),
    ],
)
def test_a_wrong_decision_is_refused_in_words(layout, flags, words):
    flags.raise_flag(AGREEMENT, "rater-07", {}, NOW)
    result = run(layout, "decide", *words)
    assert result.exit_code != 0
    assert "error: flag" in result.output
    assert flags.all()[0].status == "open"
