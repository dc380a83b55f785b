"""A worker process under Dagster Pipes that leaves no process behind, whatever happens to the step,
the run or the worker."""

import json
import multiprocessing
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Protocol

import dagster as dg

from plumbline.errors import TrainingError
from plumbline.schema.kinds import PROGRESS_FILE

POLL_S = 0.25
RUN_CHECK_S = 2.0
GRACE_S = 15.0
LAST_LINES = 12

Progress = dict[str, Any]
"""One line of progress.jsonl: `step`, `total` and `metrics`."""

_GUARD = Path(__file__).with_name("worker_guard.py")


class FileTail:
    """The complete lines that were appended to a file, each returned once; the file may not exist
    yet."""

    def __init__(self, path: Path, offset: int = 0) -> None:
        self.path = path
        self.offset = offset

    def lines(self) -> list[str]:
        """Lines that were completed since the last call, without their newline."""
        try:
            with self.path.open("rb") as stream:
                stream.seek(self.offset)
                data = stream.read()
        except FileNotFoundError:
            return []
        complete = data[: data.rfind(b"\n") + 1]
        self.offset += len(complete)
        return complete.decode(errors="replace").splitlines()


class WorkerProcess:
    """A running worker of one job folder; `wait` follows it to its end."""

    def __init__(
        self,
        context: dg.AssetExecutionContext,
        process: subprocess.Popen[bytes],
        folder: Path,
        log_offset: int,
    ) -> None:
        self.pid = process.pid
        self._context = context
        self._process = process
        self._log = folder / "worker.log"
        self._log_start = log_offset
        self._log_tail = FileTail(self._log, log_offset)
        self._progress = FileTail(folder / PROGRESS_FILE)

    def wait(self, on_progress: Callable[[list[Progress]], None]) -> None:
        """Follow the worker to its end; every poll hands the new lines of progress.jsonl, possibly
        none, to the callback.

        Raises:
            TrainingError: If the worker fails, dies of a signal, writes malformed progress, or
                outlives its Dagster run.
        """
        next_check = time.monotonic() + RUN_CHECK_S
        while True:
            try:
                code = self._process.wait(timeout=POLL_S)
            except subprocess.TimeoutExpired:
                code = None
            self._forward_log()
            on_progress([self._parse(line) for line in self._progress.lines()])
            if code == 0:
                return
            if code is not None:
                raise TrainingError(self._explain(code))
            if time.monotonic() >= next_check:
                next_check = time.monotonic() + RUN_CHECK_S
                self._require_live_run()

    def stop(self) -> None:
        """End the worker and everything it started: SIGINT, and SIGKILL for what is left after
        GRACE_S."""
        assert self._process.stdin is not None
        try:
            if self._process.poll() is None:
                self._context.log.warning(
                    f"stopping worker {self.pid}: SIGINT, and SIGKILL after {GRACE_S:g} s"
                )
                self._signal_group(signal.SIGINT)
                with suppress(subprocess.TimeoutExpired):
                    self._process.wait(timeout=GRACE_S)
        finally:
            self._process.stdin.close()  # tells the guard to kill whatever is left
            try:
                self._process.wait(timeout=GRACE_S)
            except subprocess.TimeoutExpired:
                self._signal_group(signal.SIGKILL)
                self._process.wait()
            if sys.platform != "linux":
                self._signal_group(signal.SIGKILL)  # there the guard cannot see descendants
            self._forward_log()

    def _require_live_run(self) -> None:
        parent = multiprocessing.parent_process()
        if parent is not None and not parent.is_alive():
            raise TrainingError(
                "the process that started this step is gone, so its worker was stopped; launch the"
                " run again, it resumes from its checkpoint"
            )
        run = self._context.instance.get_run_by_id(self._context.run.run_id)
        if run is None or run.is_finished:
            state = run.status.value if run else "deleted"
            raise TrainingError(
                f"Dagster run {self._context.run.run_id} is {state} while its step is still alive,"
                " so the worker was stopped; launch the run again, it resumes from its checkpoint"
            )

    def _parse(self, line: str) -> Progress:
        try:
            progress = json.loads(line)
            int(progress["step"]), dict(progress["metrics"])
        except (ValueError, KeyError, TypeError) as error:
            raise TrainingError(
                f"{self._progress.path}: the worker wrote a malformed progress line ({error}):"
                f" {line[:200]}"
            ) from error
        return dict(progress)

    def _forward_log(self) -> None:
        """Show new lines of worker.log in the step's compute log."""
        for line in self._log_tail.lines():
            print(line, file=sys.stderr)

    def _explain(self, code: int) -> str:
        if code < 0:
            name = signal.Signals(-code).name
            cause = f"was killed by {name}"
            if -code == signal.SIGKILL:
                cause += (
                    "; if nobody sent it, the machine ran out of memory: lower batch_size or"
                    " micro_batch_size"
                )
        else:
            cause = f"failed with exit code {code}"
        with self._log.open("rb") as stream:
            stream.seek(self._log_start)
            lines = stream.read().decode(errors="replace").splitlines()[1:]
        last_words = "\n".join(lines[-LAST_LINES:]) or "(it said nothing)"
        return f"the worker {cause}. Its last words, the whole log is {self._log}:\n{last_words}"

    def _signal_group(self, number: signal.Signals) -> None:
        with suppress(ProcessLookupError, PermissionError):
            os.killpg(self.pid, number)


def guarded(command: Sequence[str]) -> list[str]:
    """The command under the guard, which ends it with this process."""
    return [sys.executable, "-I", "-S", str(_GUARD), str(os.getpid()), *command]


class Waiting(Protocol):
    """A worker that was started before there was a job for it."""

    def give(
        self, folder: Path, log: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Hand over the job and its Pipes environment; the process writes to the log from then
        on."""


@contextmanager
def worker_process(
    context: dg.AssetExecutionContext,
    command: Sequence[str],
    *,
    folder: Path,
    environment: Mapping[str, str],
    cwd: Path,
    waiting: Waiting | None = None,
) -> Iterator[WorkerProcess]:
    """Start a command for a job folder inside a Pipes session; nothing of it runs after the block,
    however the block is left.

    What the command prints is appended to `<folder>/worker.log`, below one line that names the
    Dagster run, and shown in the step's compute log. Progress lines of an interrupted attempt are
    handed over again, so that whoever follows a resumed job sees all of it. Nothing that the worker
    reports through Pipes becomes a materialization: the caller returns its own. A waiting worker,
    started with the same command, environment and folder, takes the job instead of a new process.
    """
    log = folder / "worker.log"
    with dg.open_pipes_session(
        context=context,
        context_injector=dg.PipesTempFileContextInjector(),
        message_reader=dg.PipesTempFileMessageReader(),
        extras={"job": str(folder)},
    ) as session:
        offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as stream:
            head = f"--- {datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ} Dagster run {context.run.run_id}\n"
            stream.write(head.encode())
            stream.flush()
            pipes = session.get_bootstrap_env_vars()
            if waiting is not None:
                process = waiting.give(folder, log, pipes)
            else:
                process = subprocess.Popen(
                    guarded([*command, str(folder)]),
                    stdin=subprocess.PIPE,
                    stdout=stream,
                    stderr=stream,
                    cwd=cwd,
                    env={**os.environ, **pipes, **environment},
                    start_new_session=True,
                )
        worker = WorkerProcess(context, process, folder, offset)
        try:
            yield worker
        finally:
            worker.stop()
