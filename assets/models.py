"""The models: reference policy, reward model and the aligned policy of each recipe."""

from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.data import SUITES, demonstrations, preference_data
from assets.lineage.materialization import (
    CODE_VERSION,
    OWNERS,
    Upstream,
    materialized,
    own_partition,
    upstream,
)
from assets.lineage.partitions import recipes
from assets.policy import rubric
from assets.shown.plots import loss_plot
from assets.shown.presentation import mask_strip
from plumbline.lineage.consistency import require_triple
from plumbline.profile.training import AnyRecipe
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    DEMONSTRATIONS,
    PREFERENCE_DATA,
    REFERENCE_POLICY,
    REWARD_MODEL,
)
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import packages_digest
from plumbline.training.job.kinds import JobKind, method_of
from plumbline.training.job.spec import JobSpec
from plumbline.training.models.chat_template import template_identity
from resources.home import Home
from resources.launch.launcher import JobOutcome, TrainingLauncher
from resources.tracking import ExperimentTracker

if TYPE_CHECKING:
    from plumbline.evaluation.reward_models.accuracy import RewardAccuracy


POOL = "training"


def run_job(
    context: dg.AssetExecutionContext,
    home: Home,
    launcher: TrainingLauncher,
    kind: JobKind,
    recipe: AnyRecipe,
    inputs: dict[str, Upstream],
) -> JobOutcome:
    """Build the job spec from verified inputs that belong together, and hand it to the launcher,
    which requires the certificates."""
    profile = home.profile()
    policy = upstream(context, home, "rubric")
    parents = {role: source.digest for role, source in inputs.items()} | {"rubric": policy.digest}
    require_triple(home.store(), parents, context.asset_key.to_user_string())
    method = method_of(kind, recipe)
    suites = {role: SUITES[role] for role in method.certified}
    spec = JobSpec(
        kind=kind,
        inputs={role: source.artifact.tree for role, source in inputs.items()},
        certificates={role: suite.digest() for role, suite in suites.items()},
        model=profile.model,
        recipe=recipe,
        hardware=profile.hardware,
        rubric=policy.artifact.tree,
        chat_template=template_identity(profile.model),
        source=method.source_digest(),
        packages=packages_digest(),
    )
    return launcher.run(
        context,
        spec=spec,
        parents=parents,
        suites=suites,
        kind=kind,
        config_digest=profile.digest(),
        asset=context.asset_key.to_user_string(),
        partition=own_partition(context),
        params={
            "rubric": policy.artifact.facts["label"],
            "margins": policy.artifact.facts["margins"],
            "thresholds": {
                gate.id: (
                    f"{gate.metric}@{gate.slice} {gate.compare} {gate.direction} {gate.threshold:g}"
                )
                for gate in profile.gates
            },
        },
        dvc=next(
            (
                source.artifact.facts["dvc"]
                for source in inputs.values()
                if "dvc" in source.artifact.facts
            ),
            None,
        ),
    )


@dg.asset(
    group_name="models",
    kinds={"torch", "huggingface", "mlflow"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[demonstrations, rubric],
    pool=POOL,
)
def reference_policy(
    context: dg.AssetExecutionContext, home: Home, launcher: TrainingLauncher
) -> dg.MaterializeResult[Any]:
    """The frozen policy after supervised fine-tuning; every later policy is held against it."""
    inputs = {DEMONSTRATIONS: upstream(context, home, DEMONSTRATIONS)}
    outcome = run_job(context, home, launcher, REFERENCE_POLICY, home.profile().reference, inputs)
    return _trained(context, home, launcher.tracker, outcome)


@dg.asset(
    group_name="models",
    kinds={"torch", "huggingface", "mlflow"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[reference_policy, preference_data],
    pool=POOL,
)
def reward_model(
    context: dg.AssetExecutionContext, home: Home, launcher: TrainingLauncher
) -> dg.MaterializeResult[Any]:
    """The Bradley-Terry reward model with margin, from the reference weights; shown beside its
    floors and its ceiling."""
    inputs = {
        PREFERENCE_DATA: upstream(context, home, PREFERENCE_DATA),
        REFERENCE_POLICY: upstream(context, home, REFERENCE_POLICY),
    }
    outcome = run_job(context, home, launcher, REWARD_MODEL, home.profile().reward_model, inputs)
    return _trained(
        context,
        home,
        launcher.tracker,
        outcome,
        {
            "validation accuracy": dg.MetadataValue.md(
                measured_accuracy(home, outcome.digest).to_markdown()
            )
        },
    )


def measured_accuracy(home: Home, reward_model_digest: str) -> "RewardAccuracy":
    """Validation accuracy of a reward model beside its floors and its ceiling; measured once for
    each process."""
    return _measured_accuracy(
        home.layout.store, reward_model_digest, home.profile().evaluation.level
    )


@cache
def _measured_accuracy(root: Path, reward_model_digest: str, level: float) -> "RewardAccuracy":
    from plumbline.evaluation.reward_models.accuracy import measure_accuracy

    return measure_accuracy(ArtifactStore(root), reward_model_digest, level)


@dg.asset(
    group_name="models",
    kinds={"torch", "huggingface", "mlflow"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    deps=[reference_policy, preference_data],
    partitions_def=recipes,
    pool=POOL,
)
def aligned_policy(
    context: dg.AssetExecutionContext, home: Home, launcher: TrainingLauncher
) -> dg.MaterializeResult[Any]:
    """The policy that one recipe of the profile trains from the reference and the pairs."""
    inputs = {
        PREFERENCE_DATA: upstream(context, home, PREFERENCE_DATA),
        REFERENCE_POLICY: upstream(context, home, REFERENCE_POLICY),
    }
    recipe = home.profile().recipes[context.partition_key]
    outcome = run_job(context, home, launcher, ALIGNED_POLICY, recipe, inputs)
    return _trained(context, home, launcher.tracker, outcome, {"beta": recipe.beta})


def _trained(
    context: dg.AssetExecutionContext,
    home: Home,
    tracker: ExperimentTracker,
    outcome: JobOutcome,
    metadata: dict[str, Any] | None = None,
) -> dg.MaterializeResult[Any]:
    folder, artifact = home.store().open(outcome.digest)
    mlflow = (
        {}
        if outcome.mlflow_run is None
        else {"MLflow run": dg.MetadataValue.url(tracker.url(outcome.mlflow_run))}
    )
    return materialized(
        context,
        home,
        outcome.digest,
        artifact,
        job=outcome,
        metadata={
            "training": (
                "reused from the training cache, zero steps"
                if outcome.cached
                else f"{outcome.steps} steps"
            ),
            "steps": outcome.steps,
            **mlflow,
            "loss": loss_plot(folder),
            "mask": mask_strip(folder),
            **(metadata or {}),
        },
    )
