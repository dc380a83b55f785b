"""Held-out evals: what the aligned policy does that the reference did not, and whether that is what
was wanted."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.data import PROFILE
from assets.lineage.champion import Champion, champion_beside, feedback_moved
from assets.lineage.materialization import (
    CODE_VERSION,
    OWNERS,
    Upstream,
    materialized,
    opened,
    store_artifact,
    upstream,
)
from assets.lineage.partitions import recipes
from assets.models import (
    POOL,
    aligned_policy,
    measured_accuracy,
    reference_policy,
    reward_model,
    run_job,
)
from assets.shown.evaluation import (
    CHECK_DESCRIPTIONS,
    check_result,
    evaluation_metadata,
    sampling_metadata,
)
from assets.vault import eval_vault, held_out
from plumbline.profile.profile import Profile
from plumbline.profile.training import SamplesRecipe
from plumbline.schema.checks import CHECKS_FILE, CheckReport
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    CHAMPION_POLICY,
    EVAL_VAULT,
    HELD_OUT_EVALS,
    PREFERENCE_DATA,
    REFERENCE_POLICY,
    REFUSAL_DETECTOR,
    REWARD_MODEL,
)
from resources.home import Home
from resources.launch.launcher import JobOutcome, TrainingLauncher
from resources.tracking import ExperimentTracker

if TYPE_CHECKING:
    from plumbline.evaluation.evaluate import EvaluationInputs, PolicyEvaluation


DETECTOR = REFUSAL_DETECTOR
"""Asset whose detector scores where the profile says so."""


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
    from plumbline.evaluation.evaluate import evaluate_policy
    from plumbline.evaluation.frontier import read_frontier

    profile = home.profile()
    parents = _models_and_vault(context, home)
    # First of all: a policy that may not be judged by this vault gets no prompt of it.
    prompts = _prompts(home, parents[EVAL_VAULT], parents[ALIGNED_POLICY].digest)
    policy, reference = parents[ALIGNED_POLICY], parents[REFERENCE_POLICY]
    champion = champion_beside(context, home, policy, reference)
    parents |= {} if champion is None else champion.as_parent()
    job = run_job(context, home, launcher, "samples", _sampling(profile), parents)
    parents |= _data_and_samples(context, home, policy, job)
    inputs = _inputs(context, home, prompts, parents, champion)
    evaluation = evaluate_policy(inputs, profile)
    with home.store().staging() as folder:
        evaluation.write(folder)
        facts = _facts(context.partition_key, profile, inputs, evaluation)
        made = store_artifact(context, home, folder, parents=parents, facts=facts)
    if job.mlflow_run is not None:
        tracker.log_steps(job.mlflow_run, [{"step": 0, "metrics": evaluation.metrics()}])
    sampled = sampling_metadata(job, len(evaluation.scored), champion, tracker)
    shown = evaluation_metadata(prompts, evaluation, read_frontier(home.store(), made[0]))
    return materialized(context, home, *made, metadata=sampled | shown, job=job)


def _models_and_vault(context: dg.AssetExecutionContext, home: Home) -> dict[str, Upstream]:
    """What the sampling job reads; the champion comes to it."""
    names = (EVAL_VAULT, REFERENCE_POLICY, REWARD_MODEL)
    policy = upstream(context, home, ALIGNED_POLICY, context.partition_key)
    return {name: upstream(context, home, name) for name in names} | {ALIGNED_POLICY: policy}


def _prompts(home: Home, vault: Upstream, policy: str) -> list[EvalPrompt]:
    return held_out(home, vault, purpose="evaluation", by=HELD_OUT_EVALS, policy=policy)


def _sampling(profile: Profile) -> SamplesRecipe:
    return SamplesRecipe(
        decoder=profile.evaluation.decoder,
        batch_size=profile.evaluation.batch_size,
        best_of=profile.pressures.best_of,
    )


def _data_and_samples(
    context: dg.AssetExecutionContext, home: Home, policy: Upstream, job: JobOutcome
) -> dict[str, Upstream]:
    """What the answers are scored with: the answers, the data behind the policy, the detector."""
    data = policy.artifact.parents[PREFERENCE_DATA]
    detects = home.profile().evaluation.scorer == "detector"
    return {
        "samples": opened(home, job.digest, "samples"),
        PREFERENCE_DATA: opened(home, data, PREFERENCE_DATA),
        **({DETECTOR: upstream(context, home, DETECTOR)} if detects else {}),
    }


def _inputs(
    context: dg.AssetExecutionContext,
    home: Home,
    prompts: list[EvalPrompt],
    parents: dict[str, Upstream],
    champion: Champion | None,
) -> "EvaluationInputs":
    """What the evaluation reads, from the manifests of its parents."""
    from plumbline.evaluation.evaluate import EvaluationInputs
    from plumbline.evaluation.vault.leaks import training_prompts

    trained = [parents[role].digest for role in (ALIGNED_POLICY, REWARD_MODEL)]
    return EvaluationInputs(
        prompts=prompts,
        samples=parents["samples"].folder,
        dropped=_dropped(parents["samples"]),
        preference_data=parents[PREFERENCE_DATA].folder,
        reward_model=parents[REWARD_MODEL].folder,
        detector=parents[DETECTOR].folder if DETECTOR in parents else None,
        champion=None if champion is None else champion.digest,
        accuracy=measured_accuracy(home, parents[REWARD_MODEL].digest),
        drift=feedback_moved(context, home, parents[PREFERENCE_DATA], champion),
        trained_on=training_prompts(home.store(), trained),
    )


def _dropped(samples: Upstream) -> dict[str, int]:
    dropped: dict[str, int] = samples.artifact.facts["rows"]["prompts"]["dropped"]
    return dropped


def _facts(
    recipe: str, profile: Profile, inputs: "EvaluationInputs", evaluation: "PolicyEvaluation"
) -> dict[str, Any]:
    return {
        "recipe": recipe,
        "scorer": profile.evaluation.scorer,
        "decoder": profile.evaluation.decoder.model_dump(),
        "level": profile.evaluation.level,
        "samples": len(evaluation.scored),
        "champion": inputs.champion,
        "checks": {check.name: check.verdict for check in evaluation.checks.checks},
        "failure_cases": len(evaluation.cases),
    }


@dg.asset_check(
    asset=held_out_evals,
    description=(
        "Every held-out prompt was answered by every policy, and every answer was scored or"
        " counted."
    ),
)
def every_sample_counted(context: dg.AssetCheckExecutionContext, home: Home) -> dg.AssetCheckResult:
    """Prompts x policies = sampled rows, each once."""
    from plumbline.evaluation.evaluate import count_answers

    evals = upstream(context, home, HELD_OUT_EVALS, context.partition_key)
    parents = evals.artifact.parents
    vault = opened(home, parents[EVAL_VAULT], EVAL_VAULT)
    prompts = _prompts(home, vault, parents[ALIGNED_POLICY])
    policies = ("reference", "aligned", *(["champion"] if CHAMPION_POLICY in parents else []))
    samples = opened(home, parents["samples"], "samples")
    count = count_answers(prompts, samples.folder, policies, _dropped(samples))
    return dg.AssetCheckResult(
        passed=count.complete,
        metadata={
            "expected": count.expected,
            "found": count.found,
            "could not be asked": count.unasked,
            "missing": dg.MetadataValue.json([list(row) for row in count.missing[:10]]),
        },
    )


@dg.multi_asset_check(
    name="named_checks",
    specs=[
        dg.AssetCheckSpec(name, asset=held_out_evals, description=description)
        for name, description in CHECK_DESCRIPTIONS.items()
    ],
)
def named_checks(
    context: dg.AssetCheckExecutionContext, home: Home
) -> Iterator[dg.AssetCheckResult]:
    """The verdicts that were recorded with the evals, which the release decision reads too;
    inconclusive warns here and holds the release there."""
    folder = upstream(context, home, HELD_OUT_EVALS, context.partition_key).folder
    for check in CheckReport.from_json((folder / CHECKS_FILE).read_bytes()).checks:
        yield check_result(held_out_evals.key, check)
