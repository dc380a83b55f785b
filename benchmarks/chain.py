"""What orchestration costs: `make demo` against the bare chain in one process, both in one run.

Run: .venv/bin/python benchmarks/chain.py [PROFILE]

The bare chain makes the same data, trains the same three models, draws the same samples and scores
them, with the project's own training code, but without Dagster, MLflow, DVC, Great Expectations,
certificates and processes. Both start from nothing, in a temporary home.
"""

import importlib
import os
import resource
import subprocess
import sys
import tempfile
import time
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))


def processor_seconds(who: int) -> float:
    usage = resource.getrusage(who)
    return usage.ru_utime + usage.ru_stime


def bare(profile_name: str, folder: Path) -> None:
    """The chain in this process; prints one line for each stage."""
    from plumbline.data.preferences.build import build_pairs
    from plumbline.data.screening.admission import admit
    from plumbline.data.sources import load_demonstrations, load_held_out_prompts, sandbox_options
    from plumbline.evaluation.report import build_report
    from plumbline.profile.profile import CONFIGS, load_profile
    from plumbline.profile.training import Recipe, SamplesRecipe
    from plumbline.sandbox.datasets import feedback_events
    from plumbline.schema.prompts import EvalPrompt
    from plumbline.schema.rubric import load_rubric
    from plumbline.schema.samples import Sample
    from plumbline.schema.suites import load_suite
    from plumbline.storage.artifacts import ArtifactStore
    from plumbline.storage.code_identity import packages_digest
    from plumbline.storage.jsonl import read_records, write_records
    from plumbline.training.job.kinds import method_of
    from plumbline.training.job.spec import Job, JobInput, JobSpec
    from plumbline.training.job.workspace import Workspace
    from plumbline.training.models.chat_template import template_identity
    from plumbline.training.worker import prepare_process

    profile = load_profile(profile_name)
    rubric = load_rubric(CONFIGS / profile.rubric)
    suites = {
        "demonstrations": load_suite(CONFIGS / profile.demonstrations.suite),
        "preference_data": load_suite(CONFIGS / profile.preferences.suite),
    }
    store = ArtifactStore(folder / "store")
    trees: dict[str, JobInput] = {}
    clock = time.process_time()

    def stage(name: str) -> None:
        nonlocal clock
        now = time.process_time()
        print(f"  {name:18s} {now - clock:6.1f} cpu s", flush=True)
        clock = now

    def keep(role: str, staged: Path) -> None:
        tree, files = store.publish_tree(staged)
        trees[role] = JobInput(tree=tree, files=files)

    def place(role: str) -> Path:
        return store.root / "trees" / trees[role].tree.removeprefix("sha256:")

    def run(kind: str, recipe: Recipe) -> None:
        method = method_of(kind, recipe)
        roles = sorted(method.inputs)
        spec = JobSpec(
            kind=kind,
            inputs={role: trees[role].tree for role in roles},
            certificates={role: suites[role].digest() for role in method.certified},
            model=profile.model,
            recipe=recipe,
            hardware=profile.hardware,
            rubric=rubric.digest(),
            chat_template=template_identity(profile.model),
            source=method.source_digest(),
            packages=packages_digest(),
        )
        given = {role: trees[role] for role in roles}
        job = Job(
            spec=spec,
            store=str(store.root),
            inputs=given,
            suites={role: suites[role] for role in spec.certificates},
        )
        prepare_process(job)
        work = folder / kind
        (work / "output").mkdir(parents=True)
        make = getattr(importlib.import_module(method.module), method.run)
        make(Workspace(work, job, lambda line: None), recipe)
        keep(kind, work / "output")
        stage(kind)

    held_out = load_held_out_prompts(profile, Path).rows
    for role, name, rows in (
        ("demonstrations", "demonstrations.jsonl", load_demonstrations(profile, Path).rows),
        ("eval_vault", "prompts.jsonl", held_out),
    ):
        with store.staging() as staged:
            write_records(staged / name, rows)
            keep(role, staged)
    events = admit(feedback_events(sandbox_options(profile, profile.source)), rubric).accepted
    with store.staging() as staged:
        for split, pairs in build_pairs(
            events, rubric, profile.preferences, profile.seed, held_out
        ).splits.items():
            write_records(staged / f"{split}.jsonl", pairs)
        keep("preference_data", staged)
    stage("data")
    run("reference_policy", profile.reference)
    run("reward_model", profile.reward_model)
    run("aligned_policy", profile.recipes[profile.candidate])
    evaluation = profile.evaluation
    run("samples", SamplesRecipe(decoder=evaluation.decoder, batch_size=evaluation.batch_size))
    prompts = list(read_records(place("eval_vault") / "prompts.jsonl", EvalPrompt))
    samples = list(read_records(place("samples") / "samples.jsonl", Sample))
    report, _ = build_report(
        prompts, samples, evaluation.scorer, evaluation.level, profile.seed, evaluation.decoder
    )
    stage("report")
    harm = report.slices["harm"]["harmful_compliance"]
    print(f"  harmful compliance {harm.reference.value:.3f} -> {harm.aligned.value:.3f}")


def measured(command: list[str], environment: dict[str, str]) -> tuple[float, float]:
    """(wall, processor) seconds of a command and its children."""
    cpu, wall = processor_seconds(resource.RUSAGE_CHILDREN), time.perf_counter()
    subprocess.run(command, cwd=ROOT, env=environment, check=True)
    return time.perf_counter() - wall, processor_seconds(resource.RUSAGE_CHILDREN) - cpu


def main() -> None:
    profile = sys.argv[1] if len(sys.argv) > 1 else "sandbox"
    if len(sys.argv) > 2:
        bare(profile, Path(sys.argv[2]))
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
