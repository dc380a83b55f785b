"""Held-out evals: what the aligned policy does that the reference did not."""

from typing import Any

import dagster as dg

from assets.data import eval_vault
from assets.materialization import CODE_VERSION, OWNERS, materialized, upstream
from assets.models import POOL, aligned_policy, measured_accuracy, reference_policy, reward_model, run_job
from assets.partitions import recipes
from assets.presentation import comparison_plot, comparison_table, samples_table
from plumbline.code_identity import code_identity
from plumbline.data.files import read_records, write_records
from plumbline.data.schema import EvalPrompt
from plumbline.evaluation.report import EvalReport, build_report, to_markdown
from plumbline.evaluation.reward_accuracy import RewardAccuracy
from plumbline.evaluation.samples import Sample
from plumbline.training.spec import SamplesRecipe
from resources.home import Home
from resources.launcher import TrainingLauncher
from resources.tracking import ExperimentTracker


@dg.asset(
    group_name="evals",
    kinds={"torch", "scipy", "mlflow"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[eval_vault, reference_policy, reward_model, aligned_policy],
    partitions_def=recipes,
    pool=POOL,
)
def held_out_evals(context: dg.AssetExecutionContext, home: Home, launcher: TrainingLauncher, tracker: ExperimentTracker) -> dg.MaterializeResult[Any]:
    """Aligned against reference on every held-out slice: paired, with intervals, every sample kept."""
    profile = home.profile()
    recipe = context.partition_key
    inputs = {
        "eval_vault": upstream(context, home, "eval_vault"),
        "reference_policy": upstream(context, home, "reference_policy"),
        "reward_model": upstream(context, home, "reward_model"),
        "aligned_policy": upstream(context, home, "aligned_policy", recipe),
    }
    evaluation = profile.evaluation
    outcome = run_job(context, home, launcher, "samples", SamplesRecipe(decoder=evaluation.decoder, batch_size=evaluation.batch_size), inputs)
    samples_folder, _ = home.store().open(outcome.digest, kind="samples")
    prompts = list(read_records(inputs["eval_vault"].folder / "prompts.jsonl", EvalPrompt))
    samples = list(read_records(samples_folder / "samples.jsonl", Sample))
    report, scored = build_report(prompts, samples, evaluation.scorer, evaluation.level, profile.seed, evaluation.decoder)
    accuracy = measured_accuracy(home, inputs["reward_model"].digest)
    with home.store().staging() as folder:
        (folder / "report.json").write_bytes(report.to_json())
        (folder / "reward_model.json").write_bytes(accuracy.to_json())
        write_records(folder / "scored.jsonl", scored)
        digest, artifact = home.store().publish(
            folder,
            kind="held_out_evals",
            config=profile.digest(),
            code=code_identity(),
            parents={role: one.digest for role, one in inputs.items()} | {"samples": outcome.digest},
            facts={
                "recipe": recipe,
                "scorer": evaluation.scorer,
                "decoder": evaluation.decoder.model_dump(),
                "level": evaluation.level,
                "samples": len(samples),
            },
        )
    if outcome.mlflow_run is not None:
        tracker.log_steps(outcome.mlflow_run, [{"step": 0, "metrics": _summary(report, accuracy)}])
    return materialized(
        context,
        home,
        digest,
        artifact,
        spec=outcome.spec,
        mlflow_run=outcome.mlflow_run,
        cached=outcome.cached,
        metadata={
            "samples": len(samples),
            "sampling": "reused, no response was generated" if outcome.cached else f"{len(samples)} responses generated",
            **({} if outcome.mlflow_run is None else {"MLflow run": dg.MetadataValue.url(tracker.url(outcome.mlflow_run))}),
            "summary": dg.MetadataValue.md(to_markdown(report, limit=1000)),
            "slices": comparison_table(report),
            "plot": comparison_plot(report),
            "reward model accuracy": dg.MetadataValue.md(accuracy.to_markdown()),
            "side by side": samples_table(prompts, scored),
        },
    )


def _summary(report: EvalReport, accuracy: RewardAccuracy) -> dict[str, float]:
    """Every estimate of the report as one flat MLflow metric; the intervals stand beside the values."""
    flat: dict[str, float] = {}
    for name, metrics in report.slices.items():
        for metric, comparison in metrics.items():
            for side in ("reference", "aligned", "difference"):
                estimate = getattr(comparison, side)
                if estimate is not None:
                    flat |= {f"eval/{name}/{metric}/{side}/{part}": getattr(estimate, part) for part in ("value", "low", "high")}
    return flat | accuracy.metrics()


@dg.asset_check(asset=held_out_evals, description="Every held-out prompt was answered by both policies, and every answer was scored or counted.")
def every_sample_counted(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Prompts x 2 policies = scored rows, each once."""
    evals = upstream(context, home, "held_out_evals", context.partition_key)
    vault, _ = home.store().open(evals.artifact.parents["eval_vault"], kind="eval_vault")
    expected = {(p.id, side) for p in read_records(vault / "prompts.jsonl", EvalPrompt) for side in ("reference", "aligned")}
    samples, _ = home.store().open(evals.artifact.parents["samples"], kind="samples")
    found = [(s.prompt_id, s.policy) for s in read_records(samples / "samples.jsonl", Sample)]
    missing = sorted(expected - set(found))
    return dg.AssetCheckResult(
        passed=not missing and len(found) == len(expected),
        metadata={"expected": len(expected), "found": len(found), "missing": dg.MetadataValue.json([list(row) for row in missing[:10]])},
    )
