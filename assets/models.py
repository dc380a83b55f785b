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
from assets.shown.presentation import loss_plot, mask_strip
from plumbline.lineage.consistency import require_triple
from plumbline.profile.training import AnyRecipe
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import packages_digest
from plumbline.storage.jsonl import read_records
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
    parents = {role: one.digest for role, one in inputs.items()} | {"rubric": policy.digest}
    require_triple(home.store(), parents, context.asset_key.to_user_string())
    method = method_of(kind, recipe)
    suites = {role: SUITES[role] for role in method.certified}
    spec = JobSpec(
        kind=kind,
        inputs={role: one.artifact.tree for role, one in inputs.items()},
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
            (one.artifact.facts["dvc"] for one in inputs.values() if "dvc" in one.artifact.facts),
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
    inputs = {"demonstrations": upstream(context, home, "demonstrations")}
    outcome = run_job(context, home, launcher, "reference_policy", home.profile().reference, inputs)
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
        "preference_data": upstream(context, home, "preference_data"),
        "reference_policy": upstream(context, home, "reference_policy"),
    }
    outcome = run_job(context, home, launcher, "reward_model", home.profile().reward_model, inputs)
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
    """Validation accuracy of a reward model beside its floors and its ceiling, from the data that
    it was trained on."""
    return _measured_accuracy(
        home.layout.store, reward_model_digest, home.profile().evaluation.level
    )


@cache
def _measured_accuracy(root: Path, reward_model_digest: str, level: float) -> "RewardAccuracy":
    from plumbline.evaluation.reward_models.accuracy import read_rewards, reward_accuracy

    store = ArtifactStore(root)
    folder, model = store.open(reward_model_digest, kind="reward_model")
    data_folder, data = store.open(model.parents["preference_data"], kind="preference_data")
    train, validation = (
        list(read_records(data_folder / f"{split}.jsonl", PreferencePair))
        for split in ("train", "validation")
    )
    batches = [
        store.open(digest, kind="feedback_batch")[0]
        for role, digest in data.parents.items()
        if role.startswith("feedback:")
    ]
    events = [
        event
        for batch in batches
        for event in read_records(batch / "accepted.jsonl", FeedbackEvent)
    ]
    return reward_accuracy(
        train, validation, read_rewards(folder / "validation.jsonl"), events, level
    )


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
        "preference_data": upstream(context, home, "preference_data"),
        "reference_policy": upstream(context, home, "reference_policy"),
    }
    recipe = home.profile().recipes[context.partition_key]
    outcome = run_job(context, home, launcher, "aligned_policy", recipe, inputs)
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
        spec=outcome.spec,
        mlflow_run=outcome.mlflow_run,
        cached=outcome.cached,
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
