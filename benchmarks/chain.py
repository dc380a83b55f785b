"""What orchestration costs: `make demo` against the bare chain in one process, both in one run.

Run: .venv/bin/python benchmarks/chain.py [PROFILE]

The bare chain makes the same data, trains the same three models, draws the same samples and scores
them, with the project's own training code, but without Dagster, MLflow, DVC, Great Expectations,
certificates and processes. Both start from nothing, in a temporary home.
"""

import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from plumbline.data.batch_index.index import write_batch
from plumbline.data.preferences.build import build_preferences
from plumbline.data.screening.admission import admit
from plumbline.data.sources import load_demonstrations, load_held_out_prompts, sandbox_options
from plumbline.evaluation.report import build_report
from plumbline.profile.profile import CONFIGS, Profile, load_profile
from plumbline.profile.training import Recipe, SamplesRecipe
from plumbline.sandbox.datasets import feedback_events
from plumbline.schema.held_out import EvalPrompt, Sample
from plumbline.schema.rubric import load_rubric
from plumbline.schema.suites import load_suite
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import packages_digest
from plumbline.storage.jsonl import read_records, write_records
from plumbline.training.job.kinds import method_of
from plumbline.training.job.spec import Job, JobInput, JobSpec
from plumbline.training.job.workspace import Workspace
from plumbline.training.models.chat_template import template_identity
from plumbline.training.worker import prepare_process, run_method

ROOT = Path(__file__).resolve().parent.parent


def processor_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


class BareChain:
    """The stages in this process, each printed with its processor time when it is done."""

    def __init__(self, profile: Profile, folder: Path) -> None:
        self.profile, self.folder = profile, folder
        self.rubric = load_rubric(CONFIGS / profile.rubric)
        self.suites = {
            "demonstrations": load_suite(CONFIGS / profile.demonstrations.suite),
            "preference_data": load_suite(CONFIGS / profile.preferences.suite),
        }
        self.store = ArtifactStore(folder / "store")
        self.trees: dict[str, JobInput] = {}
        self.clock = time.process_time()

    def run(self) -> None:
        """All stages, from the data to the report."""
        profile, evaluation = self.profile, self.profile.evaluation
        self._make_data()
        self._train("reference_policy", profile.reference)
        self._train("reward_model", profile.reward_model)
        self._train("aligned_policy", profile.recipes[profile.candidate])
        samples = SamplesRecipe(decoder=evaluation.decoder, batch_size=evaluation.batch_size)
        self._train("samples", samples)
        self._score()

    def _make_data(self) -> None:
        profile = self.profile
        held_out = load_held_out_prompts(profile, Path).rows
        for role, name, rows in (
            ("demonstrations", "demonstrations.jsonl", load_demonstrations(profile, Path).rows),
            ("eval_vault", "prompts.jsonl", held_out),
        ):
            with self.store.staging() as staged:
                write_records(staged / name, rows)
                self._keep(role, staged)
        responses = feedback_events(sandbox_options(profile, profile.source))
        events = admit(responses, self.rubric).accepted
        with self.store.staging() as staged:
            rule, batch = profile.preferences, self.folder / "batch"
            write_batch(batch, events, rule.near_duplicates)
            build_preferences([batch], staged, self.rubric, rule, profile.seed, held_out)
            self._keep("preference_data", staged)
        self._tell("data")

    def _train(self, kind: str, recipe: Recipe) -> None:
        method = method_of(kind, recipe)
        inputs = {role: self.trees[role] for role in method.inputs}
        suites = {role: self.suites[role] for role in method.certified}
        spec = JobSpec(
            kind=kind,
            inputs={role: source.tree for role, source in inputs.items()},
            certificates={role: suite.digest() for role, suite in suites.items()},
            model=self.profile.model,
            recipe=recipe,
            hardware=self.profile.hardware,
            rubric=self.rubric.digest(),
            chat_template=template_identity(self.profile.model),
            source=method.source_digest(),
            packages=packages_digest(),
        )
        job = Job(spec=spec, store=str(self.store.root), inputs=inputs, suites=suites)
        prepare_process(job)
        workspace = Workspace(self.folder / kind, spec.digest(), lambda line: None)
        workspace.output.mkdir(parents=True)
        run_method(job, workspace)
        self._keep(kind, workspace.output)
        self._tell(kind)

    def _score(self) -> None:
        evaluation = self.profile.evaluation
        report, _ = build_report(
            list(read_records(self._place("eval_vault") / "prompts.jsonl", EvalPrompt)),
            list(read_records(self._place("samples") / "samples.jsonl", Sample)),
            evaluation.scorer,
            evaluation.level,
            self.profile.seed,
            evaluation.decoder,
        )
        self._tell("report")
        harm = report.slices["harm"]["harmful_compliance"]
        print(f"  harmful compliance {harm.reference.value:.3f} -> {harm.aligned.value:.3f}")

    def _keep(self, role: str, staged: Path) -> None:
        tree, files = self.store.publish_tree(staged)
        self.trees[role] = JobInput(tree=tree, files=files)

    def _place(self, role: str) -> Path:
        return self.store.root / "trees" / self.trees[role].tree.removeprefix("sha256:")

    def _tell(self, stage: str) -> None:
        now = time.process_time()
        print(f"  {stage:18s} {now - self.clock:6.1f} cpu s", flush=True)
        self.clock = now


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """(wall, processor) seconds of a command and its children."""
    cpu, wall = processor_seconds(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return time.perf_counter() - wall, processor_seconds(resource.RUSAGE_CHILDREN) - cpu


def main() -> None:
    profile = sys.argv[1] if len(sys.argv) > 1 else "sandbox"
    if len(sys.argv) > 2:
        BareChain(load_profile(profile), Path(sys.argv[2])).run()
        return
    with tempfile.TemporaryDirectory() as temporary:
        environment = os.environ | {
            "OMP_NUM_THREADS": "1",
            "PLUMBLINE_PROFILE": profile,
            "PLUMBLINE_HOME": f"{temporary}/home",
        }
        print("bare chain, one process", flush=True)
        bare_wall, bare_cpu = measured(
            [sys.executable, __file__, profile, f"{temporary}/bare"], environment
        )
        print("make demo", flush=True)
        demo_wall, demo_cpu = measured(
            [sys.executable, "-m", "dagster_project.commands.demo"], environment
        )
        print("make demo again", flush=True)
        again_wall, again_cpu = measured(
            [sys.executable, "-m", "dagster_project.commands.demo"], environment
        )
    print(f"\n{'':24s}{'wall s':>8s}{'cpu s':>8s}")
    for name, wall, cpu in (
        ("bare chain", bare_wall, bare_cpu),
        ("make demo", demo_wall, demo_cpu),
        ("make demo, all cached", again_wall, again_cpu),
    ):
        print(f"{name:24s}{wall:8.1f}{cpu:8.1f}")
    print(
        f"{'ratio demo / bare':24s}{demo_wall / bare_wall:8.2f}{demo_cpu / bare_cpu:8.2f}   load"
        f" average {os.getloadavg()[0]:.1f}"
    )


if __name__ == "__main__":
    main()
