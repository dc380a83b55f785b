"""The worker: runs one job in a process of its own, `python -m plumbline.training.worker
JOB_FOLDER`.

The folder holds `job.json`. The worker re-hashes every input and re-checks every certificate before
anything else, writes `progress.jsonl` while it runs, `mask_receipt.json` before the first step, the
tree to publish into `output/`, and `result.json` last: no result, no success. Exit codes: 0 done, 2
a condition that a person has to act on (one line on stderr), 1 an error of the program (with its
traceback).
"""

import argparse
import importlib
import json
import os
import shutil
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from pydantic import ValidationError

from plumbline.data.quality.certificate import require_certificate
from plumbline.errors import PlumblineError, TrainingError
from plumbline.profile.models import ScratchModel
from plumbline.records import Record
from plumbline.schema.kinds import JOB_FILE, REFERENCE_POLICY, RESULT_FILE
from plumbline.storage.artifacts import ArtifactStore, hash_tree, tree_digest, write_atomically
from plumbline.storage.code_identity import packages_digest
from plumbline.training.job.spec import Job, JobResult
from plumbline.training.job.workspace import Workspace

Log = Callable[[str], None]


def run_job(folder: Path, log: Log) -> JobResult:
    """Run the job in a folder and write its result.

    Raises:
        PlumblineError: If an input, a certificate or the code is not what the job names, or the job
            itself fails.
    """
    started = time.monotonic()
    job = read_job(folder)
    verify_job(job)
    log(f"{job.spec.kind}: inputs and certificates verified, spec {job.spec.digest()}")
    prepare_process(job)
    workspace = Workspace(folder, job.spec.digest(), log)
    shutil.rmtree(workspace.output, ignore_errors=True)
    (folder / RESULT_FILE).unlink(missing_ok=True)
    workspace.output.mkdir(parents=True)
    workspace.mend_progress()
    facts = run_method(job, workspace)
    files = hash_tree(workspace.output)
    seconds = round(time.monotonic() - started, 3)
    result = JobResult(
        tree=tree_digest(files),
        files=files,
        facts={**facts.model_dump(mode="json"), "seconds": seconds},
    )
    write_atomically(folder / RESULT_FILE, result.to_json())
    log(f"{job.spec.kind}: done, tree {result.tree}")
    return result


def run_method(job: Job, workspace: Workspace) -> Record:
    """Do what the recipe of a verified job asks for, by the row of its method, and return the
    facts."""
    spec = job.spec
    run = getattr(importlib.import_module(spec.method.module), spec.method.run)
    facts: Record = run(spec.recipe, spec.model, spec.hardware, job.input_folders(), workspace)
    return facts


def read_job(folder: Path) -> Job:
    """Read `job.json`.

    Raises:
        TrainingError: If it is missing or invalid.
    """
    path = folder / JOB_FILE
    try:
        return Job.from_json(path.read_bytes())
    except OSError as error:
        raise TrainingError(f"{path}: cannot be read: {error.strerror}") from error
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg']}" for problem in error.errors()
        )
        raise TrainingError(f"{path}: is not a job of this version: {problems}") from error


def verify_job(job: Job) -> None:
    """Check that inputs, certificates, code and packages are what the spec names.

    Raises:
        DigestMismatch, ArtifactNotFound: If a byte of an input differs or is missing.
        GateRefused: If a certificate is missing, failed, stale or unreadable.
        TrainingError: If code or packages are not those of the spec.
    """
    store = ArtifactStore(Path(job.store))
    for source in job.inputs.values():
        store.verify_tree(source.tree, source.files)
    for role, suite in job.suites.items():
        require_certificate(store.root, job.inputs[role].tree, suite)
    code, packages = job.spec.method.source_digest(), packages_digest()
    if job.spec.source != code:
        raise TrainingError(
            f"the spec names the training code {job.spec.source}, but this is {code}; make the"
            " job again with this code"
        )
    if job.spec.packages != packages:
        raise TrainingError(
            f"the spec names the packages {job.spec.packages}, but these are {packages}; make the"
            " job again in this environment"
        )


def prepare_process(job: Job) -> None:
    """Set what must be set before torch and transformers are imported, then threads and
    determinism."""
    hardware = job.spec.hardware
    os.environ["OMP_NUM_THREADS"] = str(hardware.threads)
    set_library_environment()
    os.environ.pop(
        "TORCH_FORCE_NO_WEIGHTS_ONLY_LOAD", None
    )  # it would let checkpoints execute code
    if isinstance(job.spec.model, ScratchModel) or job.spec.kind != REFERENCE_POLICY:
        os.environ["HF_HUB_OFFLINE"] = "1"
    import torch

    if hardware.device == "cuda" and not torch.cuda.is_available():
        raise TrainingError(
            "the profile asks for device cuda, but torch sees none; run it on a machine with a GPU,"
            " or choose a CPU profile"
        )
    from transformers.utils import logging

    logging.disable_progress_bar()
    # TRL itself uses names that transformers will rename; whoever reads the log can do nothing
    # about it.
    warnings.filterwarnings("ignore", category=FutureWarning, module="transformers")
    torch.set_num_threads(hardware.threads)
    if hardware.device == "cpu":
        # The same as torch.use_deterministic_algorithms(True), which would also import torch's
        # compiler for two seconds.
        torch.set_deterministic_debug_mode("error")
        torch.utils.deterministic.fill_uninitialized_memory = False  # type: ignore[attr-defined]  # a debugging aid that doubles the time of a step
    if job.spec.kind != "samples":
        import datasets

        datasets.disable_caching()  # its cache would be used again without looking at the bytes


def set_library_environment() -> None:
    """What torch, transformers and datasets read when they are imported."""
    os.environ.update(
        HF_DATASETS_DISABLE_PROGRESS_BARS="1",
        HF_HUB_DISABLE_TELEMETRY="1",
        OMP_WAIT_POLICY="PASSIVE",  # spinning threads make a busy machine ten times slower
        TOKENIZERS_PARALLELISM="false",
        TRANSFORMERS_VERBOSITY="error",
        CUBLAS_WORKSPACE_CONFIG=":4096:8",
    )


@contextmanager
def _listener() -> Iterator[tuple[Log, Callable[[JobResult], None]]]:
    """Where log lines and the result go: standard output, and Dagster when it started this
    process."""

    def say(line: str) -> None:
        print(line, flush=True)

    if "DAGSTER_PIPES_CONTEXT" not in os.environ:
        yield say, lambda result: None
        return
    from dagster_pipes import open_dagster_pipes

    with open_dagster_pipes() as pipes:

        def log(line: str) -> None:
            say(line)
            pipes.log.info(line)

        yield log, lambda result: pipes.report_custom_message({"tree": result.tree})


def stand_by(order: Path) -> Path:
    """Import what jobs on scratch models need, wait for the order, and take over its environment
    and log; returns the job's folder."""
    set_library_environment()
    os.environ["HF_HUB_OFFLINE"] = "1"
    for module in (
        "torch",
        "transformers.models.llama.modeling_llama",
        "trl.trainer.sft_trainer",
        "trl.trainer.reward_trainer",
        "trl.trainer.dpo_trainer",
    ):
        importlib.import_module(module)
    while not order.exists():
        # the order is a file, so that the guard's pipe stays the parent's sign of life
        time.sleep(0.02)
    given = json.loads(order.read_bytes())
    os.environ.update(given["environment"])
    log = os.open(given["log"], os.O_WRONLY | os.O_APPEND)
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
        os.dup2(log, stream.fileno())
    shutil.rmtree(order.parent, ignore_errors=True)
    return Path(given["folder"])


def main(arguments: list[str] | None = None) -> int:
    """Run a job and return the exit code."""
    parser = argparse.ArgumentParser(
        prog="python -m plumbline.training.worker", description="Run one training or sampling job."
    )
    parser.add_argument("folder", type=Path, nargs="?", help="the job's folder; it holds job.json")
    parser.add_argument(
        "--standby",
        type=Path,
        metavar="ORDER",
        help="import everything first, then wait for this file, which names the folder",
    )
    options = parser.parse_args(arguments)
    if (options.folder is None) == (options.standby is None):
        parser.error("give a folder, or --standby ORDER")
    if options.standby is not None:
        options.folder = stand_by(options.standby)
    try:
        with _listener() as (log, report):
            report(run_job(options.folder, log))
    except PlumblineError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
