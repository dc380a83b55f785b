"""Held-out evals: what the aligned policy does that the reference did not, and whether that is what
was wanted."""

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import dagster as dg

from assets.data import PROFILE
from assets.lineage.champion import Champion, champion_beside, feedback_moved
from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, materialized, upstream
from assets.lineage.partitions import recipes
from assets.models import (
    POOL,
    aligned_policy,
    measured_accuracy,
    reference_policy,
    reward_model,
    run_job,
)
from assets.shown.curves import calibration_plot, frontier_plot, over_optimization_plot
from assets.shown.presentation import (
    checks_table,
    comparison_plot,
    comparison_table,
    estimates_table,
    samples_table,
)
from assets.vault import eval_vault, held_out
from plumbline.evaluation.refusals.detector import read_detector
from plumbline.evaluation.scorers import scorer_of
from plumbline.profile.training import SamplesRecipe
from plumbline.schema.checks import CHECKS_FILE, PRESSURES, VAULT_LEAK, CheckReport, CheckVerdict
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.preferences import PreferencePair
from plumbline.schema.prompts import EvalPrompt
from plumbline.schema.samples import BestOfDraws, Sample
from plumbline.storage.artifacts import Artifact
from plumbline.storage.code_identity import code_identity
from plumbline.storage.jsonl import read_records, write_records
from resources.home import Home
from resources.launch.launcher import TrainingLauncher
from resources.tracking import ExperimentTracker

if TYPE_CHECKING:
    from plumbline.evaluation import failure_cases
    from plumbline.evaluation.failure_modes.length_bias import LengthDrift
    from plumbline.evaluation.failure_modes.over_optimization import OverOptimization
    from plumbline.evaluation.reward_models.accuracy import RewardAccuracy
    from plumbline.evaluation.reward_models.calibration import Calibration
    from plumbline.evaluation.scoring import ScoredSample


CHECKS = (*PRESSURES, VAULT_LEAK)
"""The named checks that the evals put a policy to; a decision needs the verdict of each."""
DETECTOR = "refusal_detector"
"""Asset whose detector scores where the profile says so."""


class Measured(NamedTuple):
    """Everything that was found about one policy; each part is a file of the tree."""

    report: EvalReport
    scored: "list[ScoredSample]"
    accuracy: "RewardAccuracy"
    curve: "OverOptimization | None"
    calibration: "Calibration | None"
    lengths: "LengthDrift"
    checks: CheckReport
    cases: "tuple[failure_cases.FailureCase, ...]"


@dg.asset(
    group_name="evals",
    kinds={"torch", "scipy", "mlflow"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[
        eval_vault,
        reference_policy,
        reward_model,
        aligned_policy,
        *([dg.AssetKey(DETECTOR)] if PROFILE.evaluation.scorer == "detector" else []),
    ],
    partitions_def=recipes,
    pool=POOL,
)
def held_out_evals(
    context: dg.AssetExecutionContext,
    home: Home,
    launcher: TrainingLauncher,
    tracker: ExperimentTracker,
) -> dg.MaterializeResult[Any]:
    """Aligned against reference and champion on every held-out slice: paired, with intervals, every
    sample kept; and the five failure pressures."""
    from plumbline.evaluation.frontier import read_frontier
    from plumbline.evaluation.report import to_markdown

    profile, recipe = home.profile(), context.partition_key
    inputs = {
        name: upstream(context, home, name)
        for name in ("eval_vault", "reference_policy", "reward_model")
    }
    inputs["aligned_policy"] = upstream(context, home, "aligned_policy", recipe)
    # First of all: a policy that may not be judged by this vault gets no prompt of it.
    prompts = held_out(
        home,
        inputs["eval_vault"],
        purpose="evaluation",
        by="held_out_evals",
        policy=inputs["aligned_policy"].digest,
    )
    champion = champion_beside(context, home, inputs["aligned_policy"], inputs["reference_policy"])
    if champion is not None and champion.upstream is not None:
        inputs["champion_policy"] = champion.upstream
    evaluation = profile.evaluation
    job = SamplesRecipe(
        decoder=evaluation.decoder,
        batch_size=evaluation.batch_size,
        best_of=profile.pressures.best_of,
    )
    outcome = run_job(context, home, launcher, "samples", job, inputs)
    samples_folder, _ = home.store().open(outcome.digest, kind="samples")
    if evaluation.scorer == "detector":
        inputs[DETECTOR] = upstream(context, home, DETECTOR)
    data = inputs["aligned_policy"].artifact.parents["preference_data"]
    folder_of_data, artifact_of_data = home.store().open(data, kind="preference_data")
    inputs["preference_data"] = Upstream(
        digest=data, artifact=artifact_of_data, folder=folder_of_data, partition=None
    )
    found = _measure(context, home, inputs, prompts, samples_folder, outcome.artifact, champion)
    with home.store().staging() as folder:
        _write(folder, found)
        digest, artifact = home.store().publish(
            folder,
            kind="held_out_evals",
            config=profile.digest(),
            code=code_identity(),
            parents={role: one.digest for role, one in inputs.items()}
            | {"samples": outcome.digest},
            facts={
                "recipe": recipe,
                "scorer": evaluation.scorer,
                "decoder": evaluation.decoder.model_dump(),
                "level": evaluation.level,
                "samples": len(found.scored),
                "champion": None if champion is None else champion.digest,
                "checks": {check.name: check.verdict for check in found.checks.checks},
                "failure_cases": len(found.cases),
            },
        )
    if outcome.mlflow_run is not None:
        tracker.log_steps(outcome.mlflow_run, [{"step": 0, "metrics": _summary(found)}])
    return materialized(
        context,
        home,
        digest,
        artifact,
        spec=outcome.spec,
        mlflow_run=outcome.mlflow_run,
        cached=outcome.cached,
        metadata={
            "samples": len(found.scored),
            "sampling": (
                "reused, no response was generated"
                if outcome.cached
                else f"{len(found.scored)} responses generated"
            ),
            "champion": (
                "none to compare with" if champion is None else champion.why_not or champion.digest
            ),
            **(
                {}
                if outcome.mlflow_run is None
                else {"MLflow run": dg.MetadataValue.url(tracker.url(outcome.mlflow_run))}
            ),
            "summary": dg.MetadataValue.md(to_markdown(found.report, limit=1000)),
            "checks": checks_table(found.checks.checks),
            "slices": comparison_table(found.report),
            "plot": comparison_plot(found.report),
            "failure cases": len(found.cases),
            "reward model accuracy": dg.MetadataValue.md(found.accuracy.to_markdown()),
            "reward model calibration": calibration_plot(found.calibration),
            "over-optimization": over_optimization_plot(found.curve),
            "divergence and reward": frontier_plot(read_frontier(home.store(), digest)),
            "length drift": estimates_table(
                found.lengths.tokens
                | {f"reward and length, {name}": one for name, one in found.lengths.paid.items()}
            ),
            "side by side": samples_table(prompts, found.scored),
        },
    )


def _measure(
    context: dg.AssetExecutionContext,
    home: Home,
    inputs: dict[str, Upstream],
    prompts: list[EvalPrompt],
    folder: Path,
    job: Artifact,
    champion: Champion | None,
) -> Measured:
    """Score the samples, and put the policy to every named check."""
    from plumbline.data.quality.agreement import AgreementReport
    from plumbline.evaluation import failure_cases
    from plumbline.evaluation.failure_modes.length_bias import length_drift
    from plumbline.evaluation.failure_modes.over_optimization import over_optimization
    from plumbline.evaluation.failure_modes.pressures import PressureEvidence, five_pressures
    from plumbline.evaluation.report import build_report
    from plumbline.evaluation.reward_models.accuracy import read_rewards
    from plumbline.evaluation.reward_models.calibration import calibration
    from plumbline.evaluation.vault.leaks import leak_check, leaks, training_prompts

    profile = home.profile()
    evaluation, data = profile.evaluation, inputs["preference_data"]
    scorer = scorer_of(
        evaluation.scorer, read_detector(inputs[DETECTOR].folder) if DETECTOR in inputs else None
    )
    trained_on = training_prompts(
        home.store(), [inputs["aligned_policy"].digest, inputs["reward_model"].digest]
    )
    leaked = leaks(trained_on, prompts, profile.preferences.contamination)
    samples = list(read_records(folder / "samples.jsonl", Sample))
    aside = {**unanswered(prompts, {sample.prompt_id for sample in samples}, job), **leaked}
    report, scored = build_report(
        prompts,
        samples,
        evaluation.scorer,
        evaluation.level,
        profile.seed,
        evaluation.decoder,
        cluster=profile.vault.cluster,
        champion=None if champion is None else champion.digest,
        set_aside=aside,
        score=scorer,
    )
    kept = [prompt for prompt in prompts if prompt.id not in aside]
    curve = over_optimization(
        list(read_records(folder / "best_of.jsonl", BestOfDraws)),
        kept,
        scorer,
        evaluation.level,
        cluster=profile.vault.cluster,
    )
    evidence = PressureEvidence(
        report=report,
        prompts=kept,
        scored=scored,
        curve=curve,
        agreement=AgreementReport.from_json((data.folder / "agreement.json").read_bytes()),
        waiting=sum(1 for _ in (data.folder / "adjudication_queue.jsonl").open("rb")),
        drift=feedback_moved(context, home, data, champion),
        training_locales=Counter(
            pair.context.locale
            for pair in read_records(data.folder / "train.jsonl", PreferencePair)
        ),
    )
    checks = (
        *five_pressures(evidence, profile.pressures),
        leak_check(leaked, prompts, len(trained_on), profile.vault),
    )
    return Measured(
        report=report,
        scored=scored,
        accuracy=measured_accuracy(home, inputs["reward_model"].digest),
        curve=curve,
        calibration=calibration(
            read_rewards(inputs["reward_model"].folder / "validation.jsonl"),
            evaluation.level,
            profile.seed,
        ),
        lengths=length_drift(report, scored),
        checks=CheckReport(checks=checks),
        cases=failure_cases.failure_cases(kept, scored),
    )


def _write(folder: Path, found: Measured) -> None:
    """The files of the tree; a part without evidence has none."""
    from plumbline.evaluation import failure_cases

    write_records(folder / "scored.jsonl", found.scored)
    failure_cases.write_failures(folder / failure_cases.FILE, found.cases)
    parts = {
        "report.json": found.report,
        "reward_model.json": found.accuracy,
        CHECKS_FILE: found.checks,
        "lengths.json": found.lengths,
        "over_optimization.json": found.curve,
        "calibration.json": found.calibration,
    }
    for name, part in parts.items():
        if part is not None:
            (folder / name).write_bytes(part.to_json())


def _summary(found: Measured) -> dict[str, float]:
    """Every estimate as one flat MLflow metric; the intervals stand beside the values."""
    flat: dict[str, float] = {}
    for name, metrics in found.report.slices.items():
        for metric, comparison in metrics.items():
            for side in ("reference", "aligned", "difference"):
                estimate = getattr(comparison, side)
                if estimate is not None:
                    flat |= {
                        f"eval/{name}/{metric}/{side}/{part}": getattr(estimate, part)
                        for part in ("value", "low", "high")
                    }
    if found.calibration is not None:
        flat |= {
            "calibration/ece": found.calibration.ece.value,
            "calibration/brier": found.calibration.brier.value,
        }
    if found.curve is not None:
        flat |= {
            "best_of/reward_gain": found.curve.proxy_gain.value,
            "best_of/quality_gain": found.curve.gold_gain.value,
        }
    return flat | found.accuracy.metrics()


def unanswered(prompts: list[EvalPrompt], answered: set[str], job: Artifact) -> dict[str, str]:
    """Prompts that the sampling job could not ask, with its reason; none unless they are exactly as
    many as the job says that it dropped."""
    dropped: dict[str, int] = job.facts["rows"]["prompts"]["dropped"]
    without = [prompt.id for prompt in prompts if prompt.id not in answered]
    return (
        dict.fromkeys(without, " or ".join(sorted(dropped)))
        if len(without) == sum(dropped.values())
        else {}
    )


@dg.asset_check(
    asset=held_out_evals,
    description=(
        "Every held-out prompt was answered by every policy, and every answer was scored or"
        " counted."
    ),
)
def every_sample_counted(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Prompts x policies = sampled rows, each once."""
    evals = upstream(context, home, "held_out_evals", context.partition_key)
    parents = evals.artifact.parents
    folder, artifact = home.store().open(parents["eval_vault"], kind="eval_vault")
    vault = Upstream(digest=parents["eval_vault"], artifact=artifact, folder=folder, partition=None)
    prompts = held_out(
        home, vault, purpose="evaluation", by="held_out_evals", policy=parents["aligned_policy"]
    )
    policies = ("reference", "aligned", *(["champion"] if "champion_policy" in parents else []))
    samples, job = home.store().open(parents["samples"], kind="samples")
    found = [(s.prompt_id, s.policy) for s in read_records(samples / "samples.jsonl", Sample)]
    aside = unanswered(prompts, {prompt for prompt, _ in found}, job)
    expected = {
        (prompt.id, side) for prompt in prompts for side in policies if prompt.id not in aside
    }
    missing = sorted(expected - set(found))
    return dg.AssetCheckResult(
        passed=not missing and len(found) == len(expected),
        metadata={
            "expected": len(expected),
            "found": len(found),
            "could not be asked": len(aside),
            "missing": dg.MetadataValue.json([list(row) for row in missing[:10]]),
        },
    )


_DESCRIPTIONS = {
    "proxy_reward": (
        "The reward does not rise while the judged quality falls, neither on the policy nor on the"
        " best-of-n curve."
    ),
    "refusal_shortcut": "Harm does not fall because harmless requests are refused.",
    "template_overfit": "Other wordings, languages and templates are answered as well.",
    "policy_ambiguity": "The annotators agree on what they were asked.",
    "feedback_drift": "Neither the labels moved nor was the champion's behaviour turned round.",
    "vault_leak": "The policy was not trained on what it is judged by.",
}
"""What has to be true, by the name of the check."""


@dg.multi_asset_check(
    name="named_checks",
    specs=[
        dg.AssetCheckSpec(name, asset=held_out_evals, description=description)
        for name, description in _DESCRIPTIONS.items()
    ],
)
def named_checks(
    context: dg.AssetCheckExecutionContext, home: Home
) -> Iterator[dg.AssetCheckResult]:
    """The verdicts that were recorded with the evals, which the release decision reads too;
    inconclusive warns here and holds the release there."""
    folder = upstream(context, home, "held_out_evals", context.partition_key).folder
    for check in CheckReport.from_json((folder / CHECKS_FILE).read_bytes()).checks:
        yield _shown(check)


def _shown(check: CheckVerdict) -> dg.AssetCheckResult:
    return dg.AssetCheckResult(
        asset_key=held_out_evals.key,
        check_name=check.name.replace("-", "_"),
        passed=check.verdict == "pass",
        severity=(
            dg.AssetCheckSeverity.WARN
            if check.verdict == "inconclusive"
            else dg.AssetCheckSeverity.ERROR
        ),
        description=check.explanation,
        metadata={
            "verdict": check.verdict,
            "what to do": check.remedy or "nothing",
            "estimates": estimates_table(check.estimates),
        },
    )
