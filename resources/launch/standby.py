"""One worker that has imported its libraries and waits for a job, so that the next job starts at
once.

Importing torch, transformers and TRL costs a worker more time than a small job. On a machine with
an idle core a standby imports while the job before it trains. `keep_ready` switches it on for this
process; nothing else changes: the same guard, the same worker, the same job folder.
"""

import atexit
import json
import os
import shutil
import subprocess
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from plumbline.storage.artifacts import write_atomically
from resources.launch.worker_process import GRACE_S, guarded


class Standby:
    """A started worker without a job."""

    def __init__(self, command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
        self._folder = Path(tempfile.mkdtemp(prefix="plumbline-standby-"))
        self._order = self._folder / "order.json"
        self.key = (tuple(command), tuple(sorted(environment.items())), cwd)
        with (self._folder / "log").open("ab") as log:
            self.process = subprocess.Popen(
                guarded([*command, "--standby", str(self._order)]),
                stdin=subprocess.PIPE,
                stdout=log,
                stderr=log,
                cwd=cwd,
                env={**os.environ, **environment},
                start_new_session=True,
            )

    def give(
        self, folder: Path, log: Path, environment: Mapping[str, str]
    ) -> subprocess.Popen[bytes]:
        """Hand over the job; from here on the process is the job's worker and writes to its log."""
        write_atomically(
            self._order,
            json.dumps(
                {"folder": str(folder), "log": str(log), "environment": dict(environment)}
            ).encode(),
        )
        return self.process

    def dismiss(self) -> None:
        """End a standby that got no job, and remove its folder."""
        assert self.process.stdin is not None
        self.process.stdin.close()  # tells the guard to kill the worker
        self.process.wait(timeout=GRACE_S)
        shutil.rmtree(self._folder, ignore_errors=True)


_enabled = False
_waiting: Standby | None = None


def keep_ready(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
    """From now on, in this process, keep one worker waiting."""
    global _enabled
    _enabled = True
    replenish(command, environment, cwd)


def replenish(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> None:
    """Start the next standby, if standbys are wanted and none waits."""
    global _waiting
    if _enabled and _waiting is None:
        _waiting = Standby(command, environment, cwd)


def take(command: Sequence[str], environment: Mapping[str, str], cwd: Path) -> Standby | None:
    """The waiting worker, if it is alive and was started exactly as this one must be."""
    global _waiting
    standby, _waiting = _waiting, None
    if standby is None:
        return None
    if (
        standby.key == (tuple(command), tuple(sorted(environment.items())), cwd)
        and standby.process.poll() is None
    ):
        return standby
    standby.dismiss()
    return None


@atexit.register
def _dismiss_the_last() -> None:
    if _waiting is not None:
        _waiting.dismiss()
