"""The training launcher: refuses without certificates, reuses what was computed before, and
believes no worker.

This is where the gate's lock sits: Dagster's blocking checks stop only the run they are in, whereas
every job of every run comes through here.
"""

import shutil
import sys
import textwrap
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import dagster as dg
from filelock import FileLock, Timeout
from pydantic import Field, ValidationError

from plumbline.data.quality.certificate import require_certificate
from plumbline.errors import (
    ArtifactError,
    ArtifactNotFound,
    DigestMismatch,
    GateRefused,
    TrainingError,
)
from plumbline.lineage.materializations import read_materializations
from plumbline.profile.training import Hardware
from plumbline.schema.kinds import JOB_FILE, RESULT_FILE
from plumbline.schema.suites import Suite
from plumbline.storage.artifacts import Artifact, hash_tree, tree_digest, write_atomically
from plumbline.storage.code_identity import ROOT, code_identity
from plumbline.training.job.spec import Job, JobInput, JobResult, JobSpec
from resources.home import Home
from resources.launch import standby
from resources.launch.mlflow_run import attachments, parameter_sections, run_tags
from resources.launch.worker_process import worker_process
from resources.tracking import ARTIFACT_TAG, TREE_TAG, ExperimentTracker, StepStream, flatten_params

WORKER = [sys.executable, "-m", "plumbline.training.worker"]


@dataclass(frozen=True)
class JobOutcome:
    """What a job came to."""

    spec: str
    """Digest of the job spec: the key of the training cache."""
    digest: str
    """Artifact digest."""
    artifact: Artifact
    cached: bool
    """True when an earlier job of the same spec was reused."""
    steps: int
    """Optimizer steps spent now; 0 when cached."""
    mlflow_run: str | None
    """The MLflow run that computed the artifact; None when MLflow no longer knows it."""


@dataclass(frozen=True)
class Launch:
    """One request for a job: everything that is not part of the spec's identity."""

    context: dg.AssetExecutionContext
    spec: JobSpec
    job: Job
    parents: Mapping[str, str]
    kind: str
    config: str
    folder: Path
    name: str
    params: Mapping[str, str]
    tags: Mapping[str, str]


class TrainingLauncher(dg.ConfigurableResource["TrainingLauncher"]):
    """Runs training and sampling jobs, each in a process of its own."""

    home: Home
    tracker: ExperimentTracker
    command: list[str] = Field(
        default=WORKER, description="the worker; the job's folder is appended"
    )

    def run(
        self,
        context: dg.AssetExecutionContext,
        *,
        spec: JobSpec,
        parents: Mapping[str, str],
        suites: Mapping[str, Suite],
        kind: str,
        config_digest: str,
        asset: str,
        partition: str | None = None,
        params: Mapping[str, Any] | None = None,
        dvc: str | None = None,
    ) -> JobOutcome:
        """Run a job, or reuse its result.

        Args:
            context: The step that asks.
            spec: What to compute; its digest is the key of the training cache.
            parents: Artifact digest of every input and of whatever else the result was derived
                from, by role.
            suites: The suite of each role in `spec.certificates`.
            kind: Kind of the artifact that is published.
            config_digest: Digest of the profile.
            asset: Asset key, parts joined by `/`.
            partition: Partition key.
            params: Further parameters for MLflow, nested as one likes: thresholds, margins.
            dvc: DVC version of the data.

        Raises:
            dagster.Failure: If a certificate is missing, failed or stale. No process was started,
                and retries are pointless.
            ArtifactError: If a parent is not in the store or is not the input that the spec names.
            TrainingError: If the worker fails, or its output is not what its result says.
        """
        self._require_certificates(context, spec, suites)
        if (cached := self._recall(context, spec, kind)) is not None:
            return cached
        key = spec.digest().removeprefix("sha256:")
        launch = Launch(
            context=context,
            spec=spec,
            job=self._job(spec, parents, suites),
            parents=parents,
            kind=kind,
            config=config_digest,
            folder=self.home.layout.jobs / key,
            name=f"{asset}[{partition}]" if partition else asset,
            params=flatten_params(
                {"profile": self.home.profile_name, **parameter_sections(spec), **(params or {})}
            ),
            tags=run_tags(context, spec, parents, asset, partition, dvc),
        )
        with self._alone(launch):
            # Another run may have finished the same job while this one waited.
            return self._recall(context, spec, kind) or self._train(launch)

    def _require_certificates(
        self, context: dg.AssetExecutionContext, spec: JobSpec, suites: Mapping[str, Suite]
    ) -> None:
        problems = {}
        for role, wanted in spec.certificates.items():
            try:
                suite = suites.get(role)
                if suite is None or suite.digest() != wanted:
                    given = "none" if suite is None else f"'{suite.name}' {suite.digest()}"
                    raise GateRefused(
                        f"the job names suite {wanted} for its {role}, but was given {given}. Build"
                        " the spec from the suite in configs/."
                    )
                require_certificate(self.home.store().root, spec.inputs[role], suite)
            except GateRefused as error:
                problems[role] = str(error)
        if problems:
            listed = "\n".join(f"{role}: {problem}" for role, problem in problems.items())
            context.log.error(f"refused: {listed}")
            raise dg.Failure(
                description=f"{spec.kind} was refused before anything was spent.\n{listed}",
                metadata={
                    "refused": dg.MetadataValue.json(problems),
                    "inputs": dg.MetadataValue.json({role: spec.inputs[role] for role in problems}),
                },
                allow_retries=False,
            )

    def _recall(
        self, context: dg.AssetExecutionContext, spec: JobSpec, kind: str
    ) -> JobOutcome | None:
        """The verified result of an earlier job of the same spec."""
        store = self.home.store()
        digest = store.recall(spec.digest())
        if digest is None:
            return None
        try:
            _, artifact = store.open(digest, kind)
        except ArtifactError as error:
            context.log.warning(
                f"the earlier result {digest} of this job cannot be reused, so the job runs again:"
                f" {error}"
            )
            return None
        context.log.info(f"reused {digest}: spec {spec.digest()} was computed before; zero steps")
        recorded = {
            production.mlflow_run
            for production in read_materializations(store.root, digest)
            if production.mlflow_run
        }
        run = next(filter(self.tracker.knows, sorted(recorded)), None) or self.tracker.find(
            spec.digest()
        )
        return JobOutcome(
            spec=spec.digest(),
            digest=digest,
            artifact=artifact,
            cached=True,
            steps=0,
            mlflow_run=run,
        )

    def _job(self, spec: JobSpec, parents: Mapping[str, str], suites: Mapping[str, Suite]) -> Job:
        store = self.home.store()
        inputs = {}
        for role, tree in spec.inputs.items():
            if role not in parents:
                raise ArtifactNotFound(
                    f"the {spec.kind} job reads {role}, but its parents are {sorted(parents)}; name"
                    " the artifact of every input"
                )
            artifact = store.manifest(parents[role])
            if artifact.tree != tree:
                raise DigestMismatch(
                    f"the {spec.kind} job names {tree} as its {role}, but parent {parents[role]} is"
                    f" {artifact.tree}; build the spec from it"
                )
            inputs[role] = JobInput(tree=tree, files=artifact.files)
        return Job(
            spec=spec,
            store=str(store.root),
            inputs=inputs,
            suites={role: suites[role] for role in spec.certificates},
        )

    @contextmanager
    def _alone(self, launch: Launch) -> Iterator[None]:
        """Two runs that ask for the same job train once."""
        launch.folder.mkdir(parents=True, exist_ok=True)
        lock = FileLock(launch.folder.with_suffix(".lock"))
        try:
            lock.acquire(timeout=0)
        except Timeout:
            launch.context.log.info("another run computes the same job; waiting for its result")
            lock.acquire()
        try:
            launch.folder.mkdir(exist_ok=True)
            yield
        finally:
            lock.release()

    def _train(self, launch: Launch) -> JobOutcome:
        folder = launch.folder
        for stale in (RESULT_FILE, "failure.txt"):
            (folder / stale).unlink(missing_ok=True)
        shutil.rmtree(folder / "output", ignore_errors=True)
        write_atomically(folder / JOB_FILE, launch.job.to_json())
        steps = StepStream(self.tracker)
        try:
            start = (self.command, worker_environment(launch.spec.hardware), ROOT)
            waiting = standby.take(*start)
            with worker_process(
                launch.context,
                start[0],
                folder=folder,
                environment=start[1],
                cwd=start[2],
                waiting=waiting,
            ) as worker:
                standby.replenish(*start)
                # The worker imports for seconds; MLflow's own imports fit in beside them.
                steps.run_id = self.tracker.start(
                    launch.spec.digest(), launch.name, launch.params, launch.tags
                )
                launch.context.log.info(
                    f"worker {worker.pid}, log {folder / 'worker.log'}, MLflow"
                    f" {self.tracker.url(steps.run_id)}"
                )
                worker.wait(steps.add)
            steps.flush()
            digest, artifact = self._publish(launch)
        except BaseException as error:
            self._record_failure(folder, steps, error)
            raise
        self.tracker.log_params(
            steps.run_id,
            flatten_params(
                {name: artifact.facts[name] for name in ("mask", "rows") if name in artifact.facts}
            ),
        )
        tags = {ARTIFACT_TAG: digest, TREE_TAG: artifact.tree}
        self.tracker.finish(
            steps.run_id, "FINISHED", tags=tags, files=attachments(folder), facts=artifact.facts
        )
        shutil.rmtree(folder)
        return JobOutcome(
            spec=launch.spec.digest(),
            digest=digest,
            artifact=artifact,
            cached=False,
            steps=int(artifact.facts.get("steps", 0)),
            mlflow_run=steps.run_id,
        )

    def _publish(self, launch: Launch) -> tuple[str, Artifact]:
        """Re-hash what the worker wrote, and publish it if it is what the worker says."""
        store, output, path = (
            self.home.store(),
            launch.folder / "output",
            launch.folder / RESULT_FILE,
        )
        try:
            result = JobResult.from_json(path.read_bytes())
        except (OSError, ValidationError) as error:
            raise TrainingError(
                f"{path}: the worker ended without a valid result: {error}. Its log is"
                f" {launch.folder / 'worker.log'}"
            ) from error
        files = hash_tree(output)
        differing = sorted(
            name
            for name in files.keys() | result.files.keys()
            if files.get(name) != result.files.get(name)
        )
        if differing or tree_digest(files) != result.tree:
            raise TrainingError(
                f"{output}: holds {tree_digest(files)}, but the worker reported {result.tree};"
                f" differing files: {', '.join(differing) or 'none'}. Nothing was published: the"
                " disk or the worker is at fault. Run the job again."
            )
        try:
            store.verify_tree(result.tree, result.files)
        except ArtifactNotFound:
            pass
        except DigestMismatch as error:
            damaged = (
                store.root / "damaged" / f"{result.tree.removeprefix('sha256:')}-{int(time.time())}"
            )
            damaged.parent.mkdir(exist_ok=True)
            (store.root / "trees" / result.tree.removeprefix("sha256:")).rename(damaged)
            launch.context.log.warning(
                f"{error} The damaged copy is now {damaged}; the new result takes its place."
            )
        digest, artifact = store.publish(
            output,
            kind=launch.kind,
            config=launch.config,
            code=code_identity(),
            parents=dict(launch.parents),
            facts=result.facts,
        )
        store.remember(launch.spec.digest(), digest)
        return digest, artifact

    def _record_failure(self, folder: Path, steps: StepStream, error: BaseException) -> None:
        """End the MLflow run with the reason; checkpoints stay in the job's folder for the next
        attempt."""
        reason = f"{type(error).__name__}: {error}"
        (folder / "failure.txt").write_text(reason)
        if steps.run_id:
            steps.flush()
            shown = textwrap.shorten(reason, 400, placeholder=" ... (all of it is in failure.txt)")
            self.tracker.finish(
                steps.run_id,
                "FAILED" if isinstance(error, Exception) else "KILLED",
                tags={"plumbline.reason": shown},
                files=attachments(folder),
            )


def worker_environment(hardware: Hardware) -> dict[str, str]:
    """What must be set before a worker imports anything."""
    return {
        "OMP_NUM_THREADS": str(hardware.threads),
        "TOKENIZERS_PARALLELISM": "false",
        "PYTHONHASHSEED": "0",
        "PYTHONUNBUFFERED": "1",
    }
