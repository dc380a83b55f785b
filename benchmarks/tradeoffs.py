"""What alignment trades for what: every recipe of a profile trained and evaluated, and one table of
what each gained and paid.

Run: .venv/bin/python benchmarks/tradeoffs.py [PROFILE]

PROFILE is `sandbox-tradeoffs` unless another one is named. The candidate goes through the whole
chain; every other recipe through aligned_policy and held_out_evals, on the same data, reference and
reward model. Runs in PLUMBLINE_HOME; what was trained there before is reused.
"""

import os
import subprocess
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from plumbline.evaluation.failure_modes.over_optimization import over_optimization
from plumbline.evaluation.frontier import read_frontier
from plumbline.evaluation.report import format_estimate
from plumbline.evaluation.scorers import scorer_of
from plumbline.evaluation.vault.opening import open_vault
from plumbline.lineage.ledger import Ledger
from plumbline.profile.evaluation import BestOf
from plumbline.profile.profile import Profile, load_profile
from plumbline.profile.training import SamplesRecipe
from plumbline.release.gates import judge_gate
from plumbline.schema.checks import CHECKS_FILE, CheckReport, CheckVerdict
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.held_out import BestOfDraws, EvalPrompt
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout
from plumbline.training.models.encoding import ChatEncoder, encode_prompts
from plumbline.training.models.tokenizers import load_tokenizer
from plumbline.training.models.weights import load_policy, load_reward_model
from plumbline.training.sampling.sampling import Judges, draw_best_of

ROOT = Path(__file__).resolve().parent.parent


COLUMNS = (
    ("harm", "harmful_compliance"),
    ("own", "over_refusal"),
    ("idiom", "over_refusal"),
    ("benign", "correctness"),
    ("all", "utility"),
    ("all", "tokens"),
)
"""Slice and metric of each column after divergence and reward."""


def train_all(profile: str) -> None:
    """Every recipe of the profile, the candidate first."""
    settings = load_profile(profile)
    environment = os.environ | {
        "PLUMBLINE_PROFILE": profile,
        "DAGSTER_HOME": str(HomeLayout.from_environment(profile=profile).dagster),
        "OMP_NUM_THREADS": "1",
    }
    subprocess.run(
        [sys.executable, "-m", "dagster_project.commands.demo"],
        cwd=ROOT,
        env=environment,
        check=True,
    )
    for recipe in settings.recipes:
        if recipe != settings.candidate:
            print(f"{recipe} ...", flush=True)
            chosen = 'key:"aligned_policy" or key:"held_out_evals"'
            command = [
                str(Path(sys.executable).with_name("dagster")),
                "asset",
                "materialize",
                "-m",
                "dagster_project.definitions",
                "--select",
                chosen,
            ]
            subprocess.run(
                [*command, "--partition", recipe],
                cwd=ROOT,
                env=environment,
                check=True,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )


def evals_of(store: ArtifactStore, profile: str) -> dict[str, str]:
    """Digest of the evals of every recipe under the profile as it is now."""
    config = load_profile(profile).digest()
    manifests = {digest: store.manifest(digest) for digest in sorted(store.manifests())}
    return {
        str(artifact.facts["recipe"]): digest
        for digest, artifact in manifests.items()
        if artifact.kind == "held_out_evals" and artifact.config == config
    }


def stopped_by(report: EvalReport, checks: Sequence[CheckVerdict], profile: Profile) -> str:
    """Gates and checks of the evals that do not pass; guardrail and judges are the same for every
    recipe."""
    verdicts = {gate.id: judge_gate(gate, report).verdict for gate in profile.gates} | {
        check.name: check.verdict for check in checks
    }
    return (
        ", ".join(f"{name} ({verdict})" for name, verdict in verdicts.items() if verdict != "pass")
        or "nothing"
    )


def rows(store: ArtifactStore, evals: dict[str, str], profile: Profile) -> Iterator[list[str]]:
    """What each recipe gained and paid, in ascending order of divergence."""
    points = {point.policy: point for point in read_frontier(store, min(evals.values())).points}
    own = {store.manifest(digest).parents["aligned_policy"]: digest for digest in evals.values()}
    for policy in sorted(own, key=lambda policy: points[policy].kl.value):
        folder, artifact = store.open(own[policy])
        report = EvalReport.from_json((folder / "report.json").read_bytes())
        slices = report.slices
        yield [
            str(artifact.facts["recipe"]),
            format_estimate(points[policy].kl, "kl"),
            format_estimate(points[policy].reward, "reward", signed=True),
            *(format_estimate(slices[name][metric].aligned, metric) for name, metric in COLUMNS),
            stopped_by(
                report, CheckReport.from_json((folder / CHECKS_FILE).read_bytes()).checks, profile
            ),
            points[policy].dominated_by or "on the frontier",
        ]


def curve(profile: str, store: ArtifactStore, evals: str, best_of: BestOf) -> Iterator[list[str]]:
    """The best-of-n curve of the reference, drawn further than the evals draw it; it is the same
    for every recipe."""
    settings = load_profile(profile)
    prompts, draws = _draw(settings, store, store.manifest(evals).parents, best_of)
    optimization = over_optimization(
        draws,
        prompts,
        scorer_of(settings.evaluation.scorer),
        settings.evaluation.level,
        cluster=settings.vault.cluster,
    )
    for point in optimization.points if optimization is not None else ():
        estimates = (
            format_estimate(point.proxy, "reward"),
            format_estimate(point.gold, "utility"),
            format_estimate(point.tokens, "tokens"),
        )
        yield [str(point.n), f"{point.kl:.2f}", *estimates]


def _draw(
    settings: Profile, store: ArtifactStore, parents: Mapping[str, str], best_of: BestOf
) -> tuple[list[EvalPrompt], list[BestOfDraws]]:
    folders = {
        role: store.open(parents[role])[0]
        for role in ("eval_vault", "reference_policy", "reward_model")
    }
    ledger = Ledger(HomeLayout.from_environment(profile=settings.name).ledger)
    prompts = open_vault(
        folders["eval_vault"],
        ledger,
        purpose="inspection",
        by="benchmarks/tradeoffs.py",
        policy=None,
        rule=settings.vault,
    )
    decoder = settings.evaluation.decoder
    tokenizer = load_tokenizer(folders["reference_policy"] / "model")
    rows = encode_prompts(
        ChatEncoder(tokenizer, settings.model.max_length), prompts, decoder.max_new_tokens
    )
    judges = Judges(
        load_policy(folders["reference_policy"] / "model", settings.hardware),
        load_reward_model(folders["reward_model"] / "model", settings.hardware),
    )
    draws = draw_best_of(
        best_of,
        SamplesRecipe(decoder=decoder, batch_size=settings.evaluation.batch_size),
        rows,
        judges,
        tokenizer,
    )
    return prompts, draws


def show(head: list[str], body: Iterable[list[str]]) -> None:
    print(
        "\n"
        + "\n".join("| " + " | ".join(row) + " |" for row in [head, ["---"] * len(head), *body])
    )


def main() -> None:

    profile = sys.argv[1] if len(sys.argv) > 1 else "sandbox-tradeoffs"
    train_all(profile)
    store = ArtifactStore(HomeLayout.from_environment(profile=profile).store)
    evals = evals_of(store, profile)
    head = [
        "recipe",
        "kl",
        "reward gained",
        *(f"{metric.replace('_', ' ')} ({name})" for name, metric in COLUMNS),
        "stopped by",
        "dominated by",
    ]
    show(head, rows(store, evals, load_profile(profile)))
    show(
        ["best of", "nats", "reward", "utility", "tokens"],
        curve(profile, store, min(evals.values()), BestOf(n=64, prompts=120)),
    )


if __name__ == "__main__":
    main()
