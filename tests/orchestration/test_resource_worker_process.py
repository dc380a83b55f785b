"""No process of a worker outlives its step, its run or its parent; real processes, real signals."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from pathlib import Path

import dagster as dg
import pytest

from plumbline.errors import TrainingError
from resources.launch import worker_process as module
from resources.launch.worker_process import FileTail, worker_process

# Starts a grandchild in a session of its own, writes both pids, then does what its first argument
# says.
WORKER = """
import os, signal, subprocess, sys, time
from pathlib import Path
mode, folder = sys.argv[1], Path(sys.argv[2])
if mode == "stubborn":
    signal.signal(signal.SIGINT, signal.SIG_IGN)
ignores = "import signal, time; signal.signal(signal.SIGINT, signal.SIG_IGN); time.sleep(120)"
grandchild = subprocess.Popen([sys.executable, "-S", "-c", ignores], start_new_session=True)
(folder / "pids.tmp").write_text(f"{os.getpid()} {grandchild.pid}")
(folder / "pids.tmp").rename(folder / "pids")
if mode == "exit":
    sys.exit("cannot read the moon")
if mode == "killed":
    os.kill(os.getpid(), signal.SIGSEGV)
if mode == "progress":
    with open(folder / "progress.jsonl", "w") as stream:
        for step in range(3):
            stream.write('{"step": %d, "total": 3, "metrics": {"loss": %f}}\\n' % (step, 1 / (step + 1))); stream.flush(); time.sleep(0.4)
    sys.exit(0)
if mode == "malformed":
    (folder / "progress.jsonl").write_text("loss went down\\n")
time.sleep(120)
"""


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "worker.py").write_text(WORKER)
    job = tmp_path / "job"
    job.mkdir()
    return job


def command(mode, folder):
    return [sys.executable, "-S", str(folder.parent / "worker.py"), mode]


def step(folder, mode, on_progress=lambda lines: None):
    """An asset that runs the worker."""

    @dg.asset
    def job(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with worker_process(
            context, command(mode, folder), folder=folder, environment={}, cwd=folder
        ) as worker:
            worker.wait(on_progress)
        return dg.MaterializeResult()

    return job


def pids(folder, seconds=20.0):
    deadline = time.monotonic() + seconds
    while not (folder / "pids").exists():
        assert time.monotonic() < deadline, "the worker did not start"
        time.sleep(0.05)
    return [int(pid) for pid in (folder / "pids").read_text().split()]


def alive(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


def assert_gone(folder, seconds):
    deadline = time.monotonic() + seconds
    while left := [pid for pid in pids(folder) if alive(pid)]:
        assert time.monotonic() < deadline, f"still alive: {left}"
        time.sleep(0.1)


def test_progress_arrives_while_the_worker_runs_and_its_stray_child_is_killed(folder):
    seen = []
    result = dg.materialize(
        [step(folder, "progress", lambda lines: seen.append((time.monotonic(), lines)))]
    )
    assert result.success
    steps = [line["step"] for _, lines in seen for line in lines]
    assert steps == [0, 1, 2]
    arrivals = [at for at, lines in seen if lines]
    assert arrivals[-1] - arrivals[0] > 0.3, "the lines came in one piece at the end"
    assert_gone(folder, 1)
    assert len(result.asset_materializations_for_node("job")) == 1


@pytest.mark.parametrize(
    ("mode", "says"),
    [
        ("exit", "exit code 1.*cannot read the moon"),
        ("killed", "killed by SIGSEGV"),
        ("malformed", "malformed.*loss went down"),
    ],
)
def test_failure_names_cause_and_log(folder, mode, says):
    with pytest.raises(TrainingError, match=f"(?s){says}") as caught:
        dg.materialize([step(folder, mode)])
    if mode == "exit":
        assert str(folder / "worker.log") in str(caught.value)
        assert "cannot read the moon" in (folder / "worker.log").read_text()
    assert_gone(folder, 1)


def test_worker_that_cannot_start_is_named(folder):
    @dg.asset
    def job(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with worker_process(
            context, ["/nowhere/python"], folder=folder, environment={}, cwd=folder
        ) as worker:
            worker.wait(lambda lines: None)
        return dg.MaterializeResult()

    with pytest.raises(TrainingError, match="/nowhere/python cannot be started"):
        dg.materialize([job])


def test_run_that_ended_elsewhere_stops_the_worker(folder):
    @dg.asset
    def job(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with worker_process(
            context, command("sleep", folder), folder=folder, environment={}, cwd=folder
        ) as worker:
            pids(folder)
            context.instance.report_run_canceled(context.run)
            worker.wait(lambda lines: None)
        return dg.MaterializeResult()

    with (
        dg.DagsterInstance.ephemeral() as instance,
        pytest.raises(TrainingError, match="is CANCELED while its step is still alive"),
    ):
        dg.materialize([job], instance=instance)
    assert_gone(folder, 1)


def test_interrupted_step_kills_a_worker_that_ignores_it(folder, monkeypatch):
    monkeypatch.setattr(module, "GRACE_S", 0.5)

    @dg.asset
    def job(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
        with worker_process(
            context, command("stubborn", folder), folder=folder, environment={}, cwd=folder
        ):
            pids(folder)
            raise KeyboardInterrupt
        return dg.MaterializeResult()

    with pytest.raises(KeyboardInterrupt):
        dg.materialize([job])
    assert_gone(folder, 2)


DRIVER = """
import sys
from pathlib import Path
import dagster as dg
from resources.launch import worker_process as module
folder, command = Path(sys.argv[1]), sys.argv[2:]
module.GRACE_S = 1.0

@dg.asset
def job(context: dg.AssetExecutionContext) -> dg.MaterializeResult:
    with module.worker_process(context, command, folder=folder, environment={}, cwd=folder) as worker:
        worker.wait(lambda lines: None)
    return dg.MaterializeResult()

def everything():
    return dg.Definitions(assets=[job], jobs=[dg.define_asset_job("all", selection="*")]).get_job_def("all")

if __name__ == "__main__":
    if (folder / "in_process").exists():
        dg.materialize([job])
    else:
        with dg.DagsterInstance.from_config(str(folder)) as instance:
            dg.execute_job(dg.reconstructable(everything), instance=instance)
"""


@pytest.fixture
def driver(folder):
    """Starts a process that materializes the asset; yields a function of the worker's mode and the
    executor."""
    started = []

    def start(mode, in_process):
        (folder.parent / "driver.py").write_text(textwrap.dedent(DRIVER))
        if in_process:
            (folder / "in_process").touch()
        else:
            (folder / "dagster.yaml").write_text("telemetry: {enabled: false}\n")
        process = subprocess.Popen(
            [sys.executable, str(folder.parent / "driver.py"), str(folder), *command(mode, folder)],
            env={
                **os.environ,
                "PYTHONPATH": str(Path(__file__).parents[2]),
                "DAGSTER_HOME": str(folder),
            },
            stdout=subprocess.DEVNULL,
            stderr=(folder / "driver.err").open("w"),
        )
        started.append(process)
        return process

    yield start
    for process in started:
        process.kill()
        process.wait()


@pytest.mark.parametrize(
    ("sent", "mode"),
    [(signal.SIGKILL, "stubborn"), (signal.SIGINT, "stubborn"), (signal.SIGINT, "sleep")],
)
def test_no_orphan_when_the_step_process_is_stopped(driver, folder, sent, mode):
    process = driver(mode, in_process=True)
    assert all(alive(pid) for pid in pids(folder))
    process.send_signal(sent)
    assert_gone(folder, 8)
    process.wait(timeout=15)


def test_no_orphan_when_the_run_worker_above_the_step_is_killed(driver, folder):
    process = driver("stubborn", in_process=False)
    worker = pids(folder)[0]
    above = [worker]
    while above[-1] != process.pid:
        above.append(int(Path(f"/proc/{above[-1]}/stat").read_text().rpartition(")")[2].split()[1]))
    assert len(above) == 4, "worker, guard, step, run worker"
    process.send_signal(signal.SIGKILL)
    assert_gone(folder, 12)
    deadline = time.monotonic() + 10
    while alive(above[2]):
        assert time.monotonic() < deadline, "the step lives on"
        time.sleep(0.1)


def test_no_orphan_of_the_command_when_the_guard_itself_is_killed(driver, folder):
    driver("stubborn", in_process=True)
    worker, grandchild = pids(folder)
    guard = int(Path(f"/proc/{worker}/stat").read_text().rpartition(")")[2].split()[1])
    os.kill(guard, signal.SIGKILL)
    deadline = time.monotonic() + 5
    while alive(worker):
        assert time.monotonic() < deadline
        time.sleep(0.05)
    os.kill(
        grandchild, signal.SIGKILL
    )  # the one thing that killing the guard leaves; the worker, which holds the device, is gone


def test_tail_returns_each_complete_line_once(tmp_path):
    tail = FileTail(tmp_path / "log")
    assert tail.lines() == []
    (tmp_path / "log").write_text("one\ntw")
    assert tail.lines() == ["one"]
    with (tmp_path / "log").open("a") as stream:
        stream.write("o\n")
    assert tail.lines() == ["two"]
    assert tail.lines() == []
