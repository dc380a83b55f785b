"""The standby: taken only by a job that would start the same process, and never left behind."""

import json
import os
import subprocess
import sys
import time
from pathlib import Path

import pytest

from resources.launch import standby

WORKER = """
import json, os, sys, time
order = sys.argv[sys.argv.index("--standby") + 1]
while not os.path.exists(order):
    time.sleep(0.01)
given = json.load(open(order))
open(os.path.join(given["folder"], "done"), "w").write(given["environment"]["PIPES"] + os.environ["THREADS"])
"""


@pytest.fixture
def command(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    return [sys.executable, str(tmp_path / "worker.py")]


@pytest.fixture(autouse=True)
def _off_afterwards(monkeypatch):
    monkeypatch.setattr(standby, "_enabled", False)
    yield
    if standby._waiting is not None:
        standby._waiting.dismiss()
        standby._waiting = None


def alive(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def test_nothing_waits_unless_it_is_wanted(command, tmp_path):
    standby.replenish(command, {"THREADS": "1"}, tmp_path)
    assert standby.take(command, {"THREADS": "1"}, tmp_path) is None


def test_the_standby_runs_the_job_that_it_is_given(command, tmp_path):
    standby.keep_ready(command, {"THREADS": "1"}, tmp_path)
    waiting = standby.take(command, {"THREADS": "1"}, tmp_path)
    process = waiting.give(tmp_path, tmp_path / "worker.log", {"PIPES": "context-"})
    assert process.wait(20) == 0
    assert (tmp_path / "done").read_text() == "context-1"
    assert standby.take(command, {"THREADS": "1"}, tmp_path) is None


def test_another_environment_gets_no_standby_and_the_old_one_ends(command, tmp_path):
    standby.keep_ready(command, {"THREADS": "1"}, tmp_path)
    pid = standby._waiting.process.pid
    assert standby.take(command, {"THREADS": "2"}, tmp_path) is None
    assert not alive(pid)


def test_a_process_that_ends_leaves_no_standby_behind(command, tmp_path):
    """The interpreter's exit dismisses the standby, a SIGKILL of its parent lets the guard do
    it."""
    script = (
        "import json, os, signal, sys; from pathlib import Path; from resources.launch import standby\n"
        "standby.keep_ready(json.loads(sys.argv[1]), {'THREADS': '1'}, Path(sys.argv[2]))\n"
        "print(standby._waiting.process.pid, flush=True)\n"
        "os.kill(os.getpid(), signal.SIGKILL) if sys.argv[3] == 'kill' else None\n"
    )

    for how in ("exit", "kill"):
        done = subprocess.run(
            [sys.executable, "-c", script, json.dumps(command), str(tmp_path), how],
            capture_output=True,
            text=True,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        )
        pid = int(done.stdout)
        deadline = time.monotonic() + 10
        while alive(pid):
            assert time.monotonic() < deadline, how
            time.sleep(0.05)
