import json
import os
import signal
import subprocess
import sys
from datetime import UTC, datetime
from pathlib import Path

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.data.store.events import FeedbackStore
from plumbline.profile.data import BatchConfig
from plumbline.profile.profile import load_profile
from plumbline.records import sha256
from plumbline.sandbox.datasets import SandboxOptions, feedback_events
from plumbline.storage.home import HomeLayout
from plumbline.storage.jsonl import write_records

ROOT = Path(__file__).resolve().parents[4]
EVENTS = list(feedback_events(SandboxOptions(pairs=12)))


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMBLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLUMBLINE_PROFILE", "sandbox")
    return lambda *arguments, **options: CliRunner().invoke(build_app(), list(arguments), **options)


@pytest.fixture
def store(tmp_path):
    layout = HomeLayout(tmp_path / "home")
    layout.profile_folder.mkdir(parents=True)
    return FeedbackStore(layout.feedback_url)


@pytest.fixture
def events_file(tmp_path):
    write_records(tmp_path / "events.jsonl", EVENTS)
    return tmp_path / "events.jsonl"


def test_events_are_imported_once(run, store, events_file):
    result = run("feedback", "import", str(events_file), "--format", "jsonl")
    assert result.exit_code == 0, result.output
    assert "12 added, 0 were there already; 12 events wait for a batch" in result.stdout
    result = run("feedback", "import", str(events_file), "--format", "jsonl")
    assert "0 added, 12 were there already" in result.stdout
    assert store.open_events()[0] == 12


def test_a_named_batch_is_closed_at_once(run, store, events_file):
    result = run("feedback", "import", str(events_file), "--format", "jsonl", "--batch", "monday")
    assert result.exit_code == 0, result.output
    assert [(batch.id, batch.events) for batch in store.batches()] == [("monday", 12)]
    assert {event.id for event in store.batch_events("monday")} == {event.id for event in EVENTS}


def test_a_bad_row_is_named_and_counted_and_the_others_are_added(run, store, events_file):
    events_file.write_bytes(events_file.read_bytes() + b"{not json\n")
    result = run("feedback", "import", str(events_file), "--format", "jsonl")
    assert result.exit_code == 0
    assert "13 rows, 12 accepted, 1 rejected" in result.stdout
    assert "1 rejected: not JSON (rows 13)" in result.stderr
    assert store.open_events()[0] == 12


def test_strict_adds_nothing_when_a_row_is_bad(run, store, events_file):
    events_file.write_bytes(events_file.read_bytes() + b"{}\n")
    result = run("feedback", "import", str(events_file), "--format", "jsonl", "--strict")
    assert result.exit_code == 2
    assert "nothing was added" in result.stderr
    assert store.open_events()[0] == 0


def test_an_hh_file_is_imported_under_the_rubric_of_the_profile(run, store, tmp_path):
    row = {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello",
        "rejected": "\n\nHuman: Hi\n\nAssistant: Go",
    }
    bad = {
        "chosen": "\n\nHuman: Hi\n\nAssistant: Hello",
        "rejected": "\n\nHuman: Ho\n\nAssistant: Go",
    }
    (tmp_path / "pairs.jsonl").write_text(json.dumps(row) + "\n" + json.dumps(bad) + "\n")
    result = run(
        "feedback",
        "import",
        str(tmp_path / "pairs.jsonl"),
        "--format",
        "hh",
        "--batch",
        "hh",
        "--approved-by",
        "data-team",
    )
    assert result.exit_code == 0, result.output
    assert "1 rejected: prompt mismatch (rows 2)" in result.stderr
    [event] = store.batch_events("hh")
    assert (event.rubric, event.provenance.approved_by) == ("helpful-harmless@1", "data-team")


@pytest.mark.parametrize(
    ("content", "arguments", "message"),
    [
        (None, ("--format", "jsonl"), "does not exist"),
        ("{}\n", ("--format", "jsonl"), "no row could be accepted as jsonl feedback"),
        ("{}\n", ("--format", "csv"), "not one of"),
        ("{}\n", (), "Missing option '--format'"),
    ],
)
def test_wrong_files_give_a_message_and_exit_2(run, store, tmp_path, content, arguments, message):
    path = tmp_path / "in.jsonl"
    if content is not None:
        path.write_text(content)
    result = run("feedback", "import", str(path), *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


FLAGS = {
    "prompt": "How do I clean brass?",
    "first": "Vinegar.",
    "second": "No.",
    "preferred": "first",
    "annotator": "ann-1",
    "consent_version": "v1",
}


def flags(**changed):
    """The flags of a valid event, with changes; None leaves one out."""
    given = {name: value for name, value in (FLAGS | changed).items() if value is not None}
    return [
        part for name, value in given.items() for part in (f"--{name.replace('_', '-')}", value)
    ]


def test_one_event_is_added_from_flags_under_the_id_of_its_content(run, store):
    result = run("feedback", "add", *flags(strength="3", locale="en", slice="benign-en"))
    assert result.exit_code == 0, result.output
    identifier = result.stdout.split()[1]
    store.close_batches(BatchConfig(max_events=1, max_age_hours=1), now=datetime.now(UTC))
    [event] = store.batch_events(store.batches()[0].id)
    assert event.id == identifier
    assert (event.judgment.preferred, event.judgment.strength, event.rubric, event.synthetic) == (
        0,
        3,
        "helpful-harmless@1",
        False,
    )
    assert (event.context.locale, event.context.slice) == ("en", "benign-en")


def test_a_tie_is_preferred_null(run, store):
    assert run("feedback", "add", *flags(preferred="tie")).exit_code == 0
    store.close_batches(BatchConfig(max_events=1, max_age_hours=1), now=datetime.now(UTC))
    assert [event.judgment.preferred for event in store.batch_events(store.batches()[0].id)] == [
        None
    ]


@pytest.mark.parametrize(
    "name", ["prompt", "first", "second", "preferred", "annotator", "consent_version"]
)
def test_a_missing_flag_is_named(run, name):
    result = run("feedback", "add", *flags(**{name: None}))
    assert result.exit_code == 2
    assert f"an event needs --{name.replace('_', '-')}" in result.stderr


def test_a_wrong_flag_names_the_field(run):
    result = run("feedback", "add", *flags(annotator="Jane Doe"))
    assert result.exit_code == 2
    assert "the flags: annotator:" in result.stderr


def without(*names, event=EVENTS[0]):
    return {
        name: value for name, value in event.model_dump(mode="json").items() if name not in names
    }


@pytest.mark.parametrize("left_out", [(), ("id",)])
def test_one_event_is_added_from_standard_input(run, store, left_out):
    result = run("feedback", "add", "--json", "-", input=json.dumps(without(*left_out)))
    assert result.exit_code == 0, result.output
    assert f"event {EVENTS[0].id}" in result.stdout
    assert (
        run("feedback", "add", "--json", "-", input=json.dumps(without()))
        .stdout.splitlines()[1]
        .startswith("0 added, 1 were there already")
    )


def test_time_and_rubric_of_a_json_event_are_filled_in(run, store):
    result = run(
        "feedback", "add", "--json", "-", input=json.dumps(without("id", "time", "rubric"))
    )
    assert result.exit_code == 0, result.output
    assert store.open_events()[0] == 1


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "standard input: not JSON"),
        ("[]", "holds a list, expected one JSON object"),
        ('{"a": 1, "a": 2}', "key stands twice"),
        (json.dumps(without("id", "annotator")), "annotator: Field required"),
        (
            json.dumps(
                without("id") | {"judgment": {"kind": "comparison", "preferred": 0, "strength": 9}}
            ),
            "strength: Input should be 0, 1, 2 or 3",
        ),
        (json.dumps(without("id") | {"stars": 5}), "stars: Extra inputs are not permitted"),
        (
            json.dumps(without() | {"annotator": "somebody-else"}),
            "is not the digest of the content",
        ),
    ],
)
def test_a_wrong_json_event_names_the_problem(run, store, text, message):
    result = run("feedback", "add", "--json", "-", input=text)
    assert result.exit_code == 2
    assert message in result.stderr
    assert store.open_events()[0] == 0


def test_status_tells_what_waits_and_who_took_what(run, store, events_file):
    assert "no feedback yet" in run("feedback", "status").stdout
    run("feedback", "import", str(events_file), "--format", "jsonl", "--batch", "monday")
    batch = store.batches()[0]
    assert "batch monday: 12 events" in run("feedback", "status").stdout
    assert "not requested yet" in run("feedback", "status").stdout
    store.claim(batch.digest, "sensor", datetime.now(UTC))
    store.claim(sha256(b"set"), "retraining", datetime.now(UTC))
    run("feedback", "add", *flags())
    status = run("feedback", "status").stdout
    assert "requested by sensor" in status
    assert f"set of batches {sha256(b'set')[7:19]}: requested by retraining" in status
    assert "open: 1 events" in status
    assert (
        f"A batch closes at {load_profile('sandbox').batches.max_events} events or after 24 h"
        in status
    )


def test_a_damaged_store_gives_a_message(run, tmp_path, events_file):
    layout = HomeLayout(tmp_path / "home")
    layout.profile_folder.mkdir(parents=True)
    layout.feedback_db.write_bytes(
        b"this is no database, but it is long enough to be looked at as one" * 40
    )
    for arguments in (("status",), ("import", str(events_file), "--format", "jsonl")):
        result = run("feedback", *arguments)
        assert result.exit_code == 2
        assert "feedback.db: the feedback store cannot be used" in result.stderr


def test_an_unknown_profile_names_the_known_ones(run):
    result = run("feedback", "status", "--profile", "sandbx")
    assert result.exit_code == 2
    assert "there is no profile 'sandbx'" in result.stderr
    assert "sandbox" in result.stderr


def test_debug_adds_the_traceback(run):
    assert "Traceback" not in run("feedback", "status", "--profile", "sandbx").stderr
    assert "Traceback" in run("--debug", "feedback", "status", "--profile", "sandbx").stderr


def sandbox_events(store):
    store.close_batches(BatchConfig(max_events=10_000, max_age_hours=1e-9), now=datetime.now(UTC))
    return [event for batch in store.batches() for event in store.batch_events(batch.id)]


def test_the_sandbox_goes_on_where_it_stopped(run, store):
    for _ in range(2):
        result = run("sandbox", "feedback", "--count", "30")
        assert result.exit_code == 0, result.output
    assert "30 judgments added (30 were in the store already); 60 wait for a batch" in result.stdout
    events = sandbox_events(store)
    assert len({event.id for event in events}) == 60
    seeded = load_profile("sandbox").source.pairs
    assert {event.id for event in events} == {
        event.id
        for event in list(
            feedback_events(SandboxOptions(seed=load_profile("sandbox").seed, pairs=seeded + 60))
        )[seeded:]
    }


def test_the_sandbox_gives_one_slice(run, store):
    assert run("sandbox", "feedback", "--count", "5", "--slice", "harm-es").exit_code == 0
    assert [event.context.slice for event in sandbox_events(store)] == ["harm-es"] * 5


def test_another_seed_gives_other_judgments_but_never_about_held_out_intents(run, store):
    from plumbline.sandbox.world import is_held_out, read_prompt

    assert run("sandbox", "feedback", "--count", "80", "--seed", "7").exit_code == 0
    events, own = sandbox_events(store), load_profile("sandbox").seed
    assert not {event.id for event in events} & {
        event.id for event in feedback_events(SandboxOptions(seed=own, pairs=200))
    }
    assert not any(is_held_out(read_prompt(event.prompt[-1].content)[0], own) for event in events)
    unfiltered = list(feedback_events(SandboxOptions(seed=7, pairs=80)))
    assert any(is_held_out(read_prompt(event.prompt[-1].content)[0], own) for event in unfiltered)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--count", "0"), "greater than or equal to 1"),
        (("--count", "1", "--slice", "harm-fr"), "choose one of benign-en"),
        (("--count", "1", "--profile", "real-data-cpu"), "takes feedback from files"),
    ],
)
def test_wrong_sandbox_input_gives_a_message(run, arguments, message):
    result = run("sandbox", "feedback", *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())


@pytest.mark.threat("D4")
def test_quarantined_rows_are_listed_and_exported_to_be_corrected(
    run, store, events_file, tmp_path
):
    assert run("feedback", "quarantine").stdout == "no row is quarantined\n"
    good = events_file.read_bytes()
    broken = EVENTS[0].to_json().strip()[:-1]
    events_file.write_bytes(good + broken + b'\n{"\xff":1}\n')
    assert (
        "2 rows are quarantined"
        in run("feedback", "import", str(events_file), "--format", "jsonl").stdout
    )
    listed = run("feedback", "quarantine").stdout.splitlines()
    assert (
        listed[0]
        == f"delivery 1: events.jsonl: row 13, byte {len(good)}, {len(broken)} bytes: not JSON"
    )
    assert (
        listed[1]
        == f"delivery 1: events.jsonl: row 14, byte {len(good) + len(broken) + 1}, 7 bytes: not"
        " UTF-8"
    )
    assert "no row is quarantined" in run("feedback", "quarantine", "--delivery", "2").stdout
    assert (
        "2 rows written"
        in run("feedback", "quarantine", "--export", str(tmp_path / "bad.jsonl")).stdout
    )
    first, second = (json.loads(line) for line in (tmp_path / "bad.jsonl").read_text().splitlines())
    assert (first["text"], first["whole"], second["text"]) == (broken.decode(), True, '{"\\xff":1}')
    (tmp_path / "fixed.jsonl").write_text(first["text"] + "}\n")
    assert (
        "0 added, 1 were there already"
        in run("feedback", "import", str(tmp_path / "fixed.jsonl"), "--format", "jsonl").stdout
    )


@pytest.mark.requirement("D10")
def test_history_tells_how_each_event_came_in_and_where_it_goes(run, store, events_file):
    assert run("feedback", "history").stdout == "no feedback yet\n"
    run("feedback", "import", str(events_file), "--format", "jsonl", "--batch", "monday")
    added = run("feedback", "add", *flags()).stdout.split()[1]
    first, second = run("feedback", "history").stdout.splitlines()
    assert first.startswith("delivery 1, ")
    assert first.endswith("12 rows: 12 accepted, 0 duplicate, 0 quarantined")
    assert " file, events.jsonl, " in first
    assert " cli, one judgment, " in second
    told = run("feedback", "history", "--event", EVENTS[0].id).stdout
    assert told.startswith("delivery 1, ")
    assert (
        "is in batch monday; from there it enters the next version of the preference data" in told
    )
    assert "waits for a batch" in run("feedback", "history", "--event", added).stdout
    missing = run("feedback", "history", "--event", "unknown")
    assert (missing.exit_code, "is not in the feedback store" in missing.stderr) == (2, True)


def test_text_from_outside_cannot_steer_the_terminal(run, store, events_file, tmp_path):
    hostile = tmp_path / "a\x1b[2J.jsonl"
    hostile.write_bytes(events_file.read_bytes() + b'{"\x7f\\u001b[31m":1}\n')
    for result in (
        run("feedback", "import", str(hostile), "--format", "jsonl"),
        run("feedback", "quarantine"),
        run("feedback", "history"),
    ):
        assert "a\\x1b[2J.jsonl" in result.stdout
        assert result.output.replace("\n", "").isprintable()


def test_the_inbox_is_collected_once(run, store, tmp_path):
    folder = HomeLayout(tmp_path / "home").inbox
    folder.mkdir(parents=True)
    write_records(folder / "a.jsonl", EVENTS)
    (folder / "b.txt").write_text("x")
    assert (
        "a.jsonl: waits: was written to less than 3600 seconds ago"
        in run("feedback", "inbox", "--once", "--settle", "3600").stdout
    )
    result = run("feedback", "inbox", "--once", "--settle", "0")
    assert result.exit_code == 0, result.output
    assert "inbox, a.jsonl, " in result.stdout
    assert "12 events wait for a batch" in result.stdout
    assert store.open_events()[0] == 12


def test_the_inbox_is_watched_until_it_is_interrupted(run, store, tmp_path):
    layout = HomeLayout(tmp_path / "home")
    layout.inbox.mkdir(parents=True)
    command = [sys.executable, "-m", "plumbline", "feedback", "inbox", "--settle", "0.5"]
    watcher = subprocess.Popen(
        command,
        stdout=subprocess.PIPE,
        text=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONUNBUFFERED": "1"},
    )
    try:
        assert watcher.stdout.readline().startswith("watching ")
        write_records(layout.inbox / "a.jsonl", EVENTS)
        assert "a.jsonl" in watcher.stdout.readline()
        assert watcher.stdout.readline() == "12 events wait for a batch\n"
    finally:
        watcher.send_signal(signal.SIGINT)
    assert watcher.wait(20) == 0
    watcher.stdout.close()


@pytest.mark.requirement("D14")
def test_synthetic_judgments_are_marked_on_the_way_in(run, store, tmp_path):
    (tmp_path / "pairs.json").write_text(
        json.dumps([{"prompt": "x", "chosen": "a", "rejected": "b"}])
    )
    assert (
        run(
            "feedback",
            "import",
            str(tmp_path / "pairs.json"),
            "--format",
            "trl",
            "--synthetic",
            "--batch",
            "judge",
        ).exit_code
        == 0
    )
    assert [event.synthetic for event in store.batch_events("judge")] == [True]
