"""A store with certified inputs, and jobs on them: what the launcher prepares, without an
orchestrator."""

import json
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from plumbline.data.quality.certificate import CheckResult, certify, write_certificate
from plumbline.profile.models import ScratchModel
from plumbline.profile.training import (
    DPORecipe,
    Hardware,
    Optimizer,
    RewardRecipe,
    SamplesRecipe,
    SupervisedRecipe,
)
from plumbline.records import Record
from plumbline.sandbox.datasets import SandboxOptions, demonstrations, eval_prompts, feedback_events
from plumbline.schema.conversations import Decoder
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id
from plumbline.schema.preferences import PreferencePair
from plumbline.schema.suites import Expectation, Suite
from plumbline.storage.artifacts import ArtifactStore, FileEntry
from plumbline.storage.code_identity import packages_digest
from plumbline.storage.jsonl import write_records
from plumbline.training.job.kinds import method_of
from plumbline.training.job.spec import (
    Job,
    JobInput,
    JobSpec,
)
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.chat_template import template_identity
from tests.training.forked import ForkedWorker

MODEL = ScratchModel(
    kind="scratch",
    tokenizer="words",
    vocabulary=None,
    hidden=32,
    layers=1,
    heads=4,
    feed_forward=64,
    init_std=0.1,
    max_length=128,
)
HARDWARE = Hardware(device="cpu", precision="float32", threads=1)
OPTIONS = SandboxOptions(seed=3, demonstrations=320, pairs=240, prompts_per_slice=4)
SUITE = Suite(
    name="rows",
    minimum_rows=1,
    expectations=(
        Expectation(
            id="count",
            type="expect_table_row_count_to_be_between",
            kwargs={"min_value": 1},
            severity="critical",
            reason="No empty data.",
        ),
    ),
)


def optimizer(**changes: Any) -> Optimizer:
    fields = {
        "epochs": 1,
        "batch_size": 16,
        "learning_rate": 5e-3,
        "warmup_share": 0.1,
        "weight_decay": 0.01,
        "beta2": 0.98,
        "save_every": 5,
    }
    return Optimizer(**{**fields, **changes})


RECIPES: dict[str, Any] = {
    "reference_policy": SupervisedRecipe(seed=0, optimizer=optimizer(epochs=2)),
    "reward_model": RewardRecipe(
        seed=0, optimizer=optimizer(epochs=3), margin_scale=1.0, centering=0.01
    ),
    "aligned_policy": DPORecipe(
        objective="dpo",
        seed=0,
        optimizer=optimizer(epochs=3, learning_rate=1e-3),
        beta=0.1,
        sft_weight=1.0,
    ),
    "samples": SamplesRecipe(
        decoder=Decoder(temperature=1.0, max_new_tokens=24, seed=0), batch_size=64
    ),
}


def pairs(options: SandboxOptions = OPTIONS) -> list[PreferencePair]:
    """One pair for each untied sandbox event."""
    found = []
    for event in feedback_events(options):
        if event.winner is None or event.responses[0].text == event.responses[1].text:
            continue
        fields = {
            "prompt": event.prompt,
            "chosen": event.winner,
            "rejected": event.responses[1 - event.judgment.preferred].text,
            "margin": event.judgment.strength / 3,
            "votes": 1,
            "agreement": 1.0,
            "event_ids": (event.id,),
            "rubric": event.rubric,
            "context": event.context,
            "synthetic": True,
        }
        found.append(PreferencePair(id=content_id([event.id]), **fields))
    return found


class Bench:
    """A store, its inputs by role, and the means to run jobs on them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.store = ArtifactStore(root / "store")
        self.inputs: dict[str, JobInput] = {}
        self.results: dict[str, dict[str, Any]] = {}

    def publish(self, role: str, files: dict[str, Iterable[Record]]) -> JobInput:
        with self.store.staging() as folder:
            for name, records in files.items():
                write_records(folder / name, records)
            return self._add(role, *self.store.publish_tree(folder))

    def publish_output(self, role: str, folder: Path) -> JobInput:
        return self._add(role, *self.store.publish_tree(folder / "output"))

    def _add(self, role: str, tree: str, files: dict[str, FileEntry]) -> JobInput:
        self.inputs[role] = JobInput(tree=tree, files=files)
        return self.inputs[role]

    def certify(self, role: str, suite: Suite = SUITE) -> None:
        check = CheckResult(
            id="count",
            status="pass",
            observed=10.0,
            examined=10,
            unexpected=0,
            examples=(),
            message="",
        )
        write_certificate(self.store.root, certify(self.inputs[role].tree, suite, 10, [check]))

    def publish_data(self, options: SandboxOptions = OPTIONS) -> None:
        everything = pairs(options)
        held = len(everything) // 6
        self.publish("demonstrations", {"demonstrations.jsonl": demonstrations(options)})
        self.publish(
            "preference_data",
            {
                "train.jsonl": everything[2 * held :],
                "validation.jsonl": everything[:held],
                "calibration.jsonl": everything[held : 2 * held],
                "set_aside.jsonl": [],
            },
        )
        self.publish("eval_vault", {"prompts.jsonl": eval_prompts(options)})
        self.certify("demonstrations")
        self.certify("preference_data")

    def spec(self, kind: Any, recipe: Any = None, model: Any = MODEL, **changes: Any) -> JobSpec:
        recipe = recipe or RECIPES[kind]
        method = method_of(kind, recipe)
        fields = {
            "kind": kind,
            "inputs": {role: self.inputs[role].tree for role in method.inputs},
            "certificates": dict.fromkeys(method.certified, SUITE.digest()),
            "model": model,
            "recipe": recipe,
            "hardware": HARDWARE,
            "rubric": "sha256:" + "0" * 64,
            "chat_template": template_identity(model),
            "source": method.source_digest(),
            "packages": packages_digest(),
        }
        return JobSpec(**{**fields, **changes})

    def prepare(self, spec: JobSpec, name: str) -> Path:
        """Write job.json into a folder of its own."""
        folder = self.root / "jobs" / name
        folder.mkdir(parents=True, exist_ok=True)
        job = Job(
            spec=spec,
            store=str(self.store.root),
            inputs={role: self.inputs[role] for role in spec.inputs},
            suites=dict.fromkeys(spec.certificates, SUITE),
        )
        (folder / "job.json").write_bytes(job.to_json())
        return folder

    def start(self, folder: Path, *arguments: str, **environment: str) -> ForkedWorker:
        """Start the worker as a process of its own."""
        return ForkedWorker(folder, arguments, environment)

    def worker(self, folder: Path, *arguments: str, **environment: str) -> tuple[int, str, str]:
        """Run the worker to its end: exit code, standard output, standard error."""
        process = self.start(folder, *arguments, **environment)
        output, errors = process.communicate()
        return process.returncode, output, errors

    def run(self, folder: Path, **environment: str) -> dict[str, Any]:
        """Run the worker, expect success, and return result.json."""
        code, _, errors = self.worker(folder, **environment)
        assert code == 0, errors
        result: dict[str, Any] = json.loads((folder / "result.json").read_text())
        return result


class Asked(NamedTuple):
    """What a method is given, without a worker."""

    spec: JobSpec
    inputs: dict[str, Path]
    workspace: Workspace

    @property
    def arguments(self) -> tuple[Any, ...]:
        """The arguments of a method, in their order."""
        spec = self.spec
        return spec.recipe, spec.model, spec.hardware, self.inputs, self.workspace

    @property
    def planned(self) -> tuple[Any, ...]:
        """The arguments of the function that builds a trainer's arguments."""
        spec = self.spec
        return spec.recipe, spec.model, spec.hardware, self.workspace.checkpoints


def in_process(bench: Bench, spec: JobSpec, folder: Path) -> Asked:
    """A job without a worker, for tests that look inside it."""
    job = Job(
        spec=spec,
        store=str(bench.store.root),
        inputs={role: bench.inputs[role] for role in spec.inputs},
        suites=dict.fromkeys(spec.certificates, SUITE),
    )
    space = Workspace(folder, spec.digest(), lambda line: None)
    space.output.mkdir(parents=True)
    return Asked(spec, job.input_folders(), space)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Whatever uses the bench waits for three trainings."""
    for item in items:
        if "bench" in getattr(item, "fixturenames", ()):
            item.add_marker(pytest.mark.slow)


@pytest.fixture(scope="session")
def bench(tmp_path_factory: pytest.TempPathFactory) -> Bench:
    """Certified data and the models trained on it, once for all tests."""
    made = Bench(tmp_path_factory.mktemp("bench"))
    made.publish_data()
    for kind in ("reference_policy", "reward_model", "aligned_policy"):
        folder = made.prepare(made.spec(kind), kind)
        made.results[kind] = made.run(folder)
        made.publish_output(kind, folder)
    return made


@pytest.fixture
def damaged(tmp_path: Path) -> Bench:
    """Certified data in a store of its own, for tests that spoil something."""
    made = Bench(tmp_path)
    made.publish_data(SandboxOptions(seed=3, demonstrations=40, pairs=40, prompts_per_slice=2))
    return made


@pytest.fixture
def job_of(bench: Bench, tmp_path: Path) -> Callable[[JobSpec], Asked]:
    """Prepares jobs in this process on the bench's inputs."""
    return lambda spec: in_process(bench, spec, tmp_path / spec.kind)


@pytest.fixture(scope="session")
def make_job(bench: Bench) -> Callable[[JobSpec, Path], Asked]:
    """Prepares jobs in this process, in a given folder, on the bench's inputs."""
    return lambda spec, folder: in_process(bench, spec, folder)


@pytest.fixture(scope="session")
def sandbox_options() -> SandboxOptions:
    return OPTIONS


@pytest.fixture(scope="session")
def first_pair() -> PreferencePair:
    return pairs(SandboxOptions(seed=3, pairs=8))[0]


@pytest.fixture(scope="session")
def first_prompt() -> EvalPrompt:
    return next(eval_prompts(SandboxOptions(seed=3, prompts_per_slice=2)))
