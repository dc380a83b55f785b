"""`plumbline feedback serve`, `key` and `tasks`."""

import json
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request

import pytest
import typer
from typer.testing import CliRunner

from plumbline.cli.feedback.serve import key_app, tasks_app
from plumbline.records import canonical_json


@pytest.fixture
def run(tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMBLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLUMBLINE_PROFILE", "collecting")
    app = typer.Typer()
    app.add_typer(key_app, name="key")
    app.add_typer(tasks_app, name="tasks")
    return lambda *arguments: CliRunner().invoke(app, list(arguments))


@pytest.fixture
def tasks_file(tmp_path, new_task):
    path = tmp_path / "tasks.jsonl"
    fields = [json.loads(new_task(f"Question {number}?").to_json()) for number in range(3)]
    path.write_bytes(
        b"".join(
            canonical_json({name: value for name, value in one.items() if name != "id"})
            for one in fields
        )
    )
    return path


def test_a_key_is_shown_once_listed_and_revoked(run):
    made = run("key", "add", "rater-01", "--scopes", "read,collect")
    assert made.exit_code == 0, made.output
    [text] = made.stdout.split()
    assert text.startswith("plumbline_")
    assert "rater-01 may collect, read; it is shown this once" in made.stderr
    listed = run("key", "list").stdout
    identifier = text.split("_")[1]
    assert f"{identifier} rater-01: collect, read" in listed
    assert text not in listed
    assert "; revoked" in run("key", "revoke", identifier).stdout
    assert "; revoked" in run("key", "list").stdout


@pytest.mark.parametrize(("scopes", "message"), [("admin", "scopes admin"), (",", "are missing")])
def test_scopes_that_do_not_exist_are_refused(run, scopes, message):
    result = run("key", "add", "rater-01", "--scopes", scopes)
    assert message in str(result.exception)
    assert run("key", "list").stdout == "no keys\n"


def test_tasks_are_imported_once_and_listed(run, tasks_file):
    assert (
        "3 tasks, 3 added, 0 were there already" in run("tasks", "import", str(tasks_file)).stdout
    )
    assert (
        "3 tasks, 0 added, 3 were there already" in run("tasks", "import", str(tasks_file)).stdout
    )
    listed = run("tasks", "list").stdout
    assert listed.count("0 judgments; responses of policy-0, policy-1") == 3
    assert listed.endswith("3 tasks, 3 without a judgment\n")


def test_a_wrong_task_adds_nothing(run, tasks_file):
    tasks_file.write_bytes(tasks_file.read_bytes() + b"{}\n")
    assert "row 4" in str(run("tasks", "import", str(tasks_file)).exception)
    assert run("tasks", "list").stdout == "0 tasks, 0 without a judgment\n"


@pytest.mark.threat("S5")
@pytest.mark.slow
def test_the_service_listens_on_loopback_only_and_answers(run, tasks_file, tmp_path):
    """A real process on its default address: the loopback address answers, another address of this
    machine is refused at the socket."""
    key = run("key", "add", "rater-01", "--scopes", "collect").stdout.strip()
    run("tasks", "import", str(tasks_file))
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    process = subprocess.Popen(
        [sys.executable, "-m", "plumbline", "feedback", "serve", "--port", str(port)],
        env=dict(os.environ),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        request = urllib.request.Request(
            f"http://127.0.0.1:{port}/v1/tasks/next", headers={"X-API-Key": key}
        )
        deadline = time.monotonic() + 60
        while True:
            try:
                with urllib.request.urlopen(request, timeout=10) as answer:
                    assert json.load(answer)["open"] == 3
                break
            except urllib.error.URLError:
                assert process.poll() is None, process.stdout.read()
                assert time.monotonic() < deadline
                time.sleep(0.2)
        with socket.socket() as other:
            other.settimeout(5)
            assert other.connect_ex(("127.0.0.2", port)) != 0
    finally:
        process.terminate()
        output = process.communicate(timeout=20)[0]
    assert f"judge on http://127.0.0.1:{port}/collect" in output
    assert "there is no key yet" not in output
