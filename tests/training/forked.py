"""Workers that start at once: forks of one process that has imported what every worker needs.

They run the worker's own `main`, as its standby does after it got a job; `tests/orchestration` and
`tests/end_to_end` start workers as processes of their own.
"""

import contextlib
import multiprocessing
import os
import sys
from multiprocessing.context import ForkServerProcess
from pathlib import Path

from plumbline.storage.code_identity import ROOT

LIBRARIES = "tests.training.libraries"


class ForkedWorker:
    """A worker in a process of its own; its output lies in two files beside its folder."""

    def __init__(self, folder: Path, arguments: tuple[str, ...], environment: dict[str, str]):
        self._output, self._errors = (
            folder.with_name(f"{folder.name}.{name}") for name in ("stdout", "stderr")
        )
        context = multiprocessing.get_context("forkserver")
        context.set_forkserver_preload([LIBRARIES])
        with _searching(ROOT):  # where the server looks for the libraries' module
            self._process: ForkServerProcess = context.Process(
                target=_work,
                args=((str(folder), *arguments), environment, self._output, self._errors),
            )
            self._process.start()

    @property
    def returncode(self) -> int | None:
        """None while it runs."""
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def kill(self) -> None:
        self._process.kill()

    def communicate(self) -> tuple[str, str]:
        """Wait for its end; its standard output and error."""
        self._process.join()
        return self._output.read_text(), self._errors.read_text()


def _work(
    arguments: tuple[str, ...], environment: dict[str, str], output: Path, errors: Path
) -> None:
    from plumbline.training.worker import main

    for path, stream in ((output, sys.stdout), (errors, sys.stderr)):
        stream.flush()
        with path.open("wb") as file:
            os.dup2(file.fileno(), stream.fileno())
    os.chdir(ROOT)
    os.environ.update(environment)
    sys.exit(main(list(arguments)))


@contextlib.contextmanager
def _searching(folder: Path):
    before = os.environ.get("PYTHONPATH")
    os.environ["PYTHONPATH"] = str(folder)
    try:
        yield
    finally:
        if before is None:
            del os.environ["PYTHONPATH"]
        else:
            os.environ["PYTHONPATH"] = before
