"""Runs one command and outlives it just long enough to leave nothing of it behind.

`python -I -S worker_guard.py PARENT_PID COMMAND...` with standard input connected to a pipe that
only the parent writes to. When the command ends, the guard kills what it left running and ends the
same way. When the pipe closes, because the parent closed it or died in any way, the guard kills the
command and all its descendants. Adopting orphans (PR_SET_CHILD_SUBREAPER) reaches descendants that
moved to a session of their own, as the processes of torchrun do. Without Linux's /proc, the guard
kills the command itself and the parent kills the process group.

A process of its own, because PR_SET_PDEATHSIG set from the parent fires when the parent's *thread*
ends and reaches no grandchildren. Standard library only: it starts in some 20 ms.
"""

import ctypes
import os
import selectors
import signal
import sys
from contextlib import suppress
from pathlib import Path

PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36
PARENT_CHECK_S = 1.0


def main(arguments: list[str]) -> int:
    """Run the command; returns its exit code, or dies of the signal that it died of."""
    parent, command = int(arguments[0]), arguments[1:]
    _prctl(PR_SET_CHILD_SUBREAPER, 1)
    reading, writing = os.pipe()
    os.set_blocking(reading, False)
    os.set_blocking(writing, False)
    signal.set_wakeup_fd(writing, warn_on_full_buffer=False)
    # Handlers, not SIG_IGN: a handler is reset when the command starts, so that the command itself
    # can be interrupted.
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD):
        signal.signal(number, lambda *_: None)
    child = _start(command)
    status = _wait(child, parent, reading)
    if status is None:
        with suppress(ProcessLookupError):
            os.kill(child, signal.SIGKILL)
    _kill_descendants()
    if status is None:
        return 128 + signal.SIGKILL
    if os.WIFSIGNALED(status):
        cause = os.WTERMSIG(status)
        if cause != signal.SIGKILL:
            signal.signal(cause, signal.SIG_DFL)
        os.kill(os.getpid(), cause)
    return os.waitstatus_to_exitcode(status)


def _start(command: list[str]) -> int:
    guard = os.getpid()
    child = os.fork()
    if child:
        return child
    try:
        _prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        if os.getppid() != guard:
            os._exit(128 + signal.SIGKILL)
        silence = os.open(os.devnull, os.O_RDONLY)
        os.dup2(silence, 0)
        os.execvp(command[0], command)  # noqa: S606 - there is no shell to want
    except OSError as error:
        print(f"{command[0]} cannot be started: {error}", file=sys.stderr, flush=True)
    os._exit(127)


def _wait(child: int, parent: int, wakeups: int) -> int | None:
    """Status of the child, or None when the parent let go of it first."""
    selector = selectors.DefaultSelector()
    selector.register(0, selectors.EVENT_READ)
    selector.register(wakeups, selectors.EVENT_READ)
    while True:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return None
            if pid == child:
                return status
            if pid == 0:
                break
        ready = {key.fd for key, _ in selector.select(PARENT_CHECK_S)}
        with suppress(BlockingIOError):
            os.read(wakeups, 4096)
        if (0 in ready and not os.read(0, 4096)) or os.getppid() != parent:
            return None


def _kill_descendants() -> None:
    """Kill until no descendant is left; orphans become our children, so every round sees what the
    last one revealed."""
    while True:
        for pid in _descendants(os.getpid()):
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        try:
            os.waitpid(-1, 0)
        except ChildProcessError:
            return


def _descendants(root: int) -> list[int]:
    children: dict[int, list[int]] = {}
    for entry in Path("/proc").glob("[0-9]*/stat"):
        with suppress(OSError):
            # "pid (name) state ppid ...": the name may hold spaces and parentheses
            children.setdefault(int(entry.read_text().rpartition(")")[2].split()[1]), []).append(
                int(entry.parent.name)
            )
    descendants, waiting = [], [root]
    while waiting:
        below = children.get(waiting.pop(), [])
        descendants += below
        waiting += below
    return descendants


def _prctl(option: int, value: int) -> None:
    with suppress(AttributeError, OSError):
        ctypes.CDLL(None).prctl(option, value, 0, 0, 0)


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
