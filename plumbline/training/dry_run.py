"""A dry run: every argument of a profile's jobs is built as training would build it, without data,
weights or a network.

`python -m plumbline.training.dry_run PROFILE` prints the plan of every job, `--job FOLDER` verifies
one prepared job and prints its plan. Both find knobs that TRL, transformers or peft refuse, before
a GPU is rented.
"""

import argparse
import importlib
import json
import sys
import warnings
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plumbline.errors import PlumblineError, TrainingError
from plumbline.profile.models import HubModel
from plumbline.profile.profile import Profile, load_profile
from plumbline.profile.training import AnyRecipe, Hardware, SamplesRecipe
from plumbline.schema.kinds import ALIGNED_POLICY, REFERENCE_POLICY, REWARD_MODEL
from plumbline.training.job.kinds import JobKind, method_of
from plumbline.training.job.spec import JobSpec
from plumbline.training.models.chat_template import template_identity
from plumbline.training.worker import read_job, verify_job

ABSENT = "sha256:" + "0" * 64
"""Stands for inputs, code and packages, which a dry run does not have."""
SHOWN = (
    "num_train_epochs",
    "per_device_train_batch_size",
    "gradient_accumulation_steps",
    "learning_rate",
    "warmup_steps",
    "weight_decay",
    "adam_beta2",
    "bf16",
    "use_cpu",
    "gradient_checkpointing",
    "save_steps",
    "logging_steps",
    "seed",
    "beta",
    "loss_type",
    "loss_weights",
    "center_rewards_coefficient",
)
"""The arguments that a plan shows, where the trainer has them."""


def plan_profile(profile: Profile) -> list[dict[str, Any]]:
    """The plans of all jobs of a profile; `plan_job` says what can go wrong."""
    evaluation = profile.evaluation
    samples = SamplesRecipe(
        decoder=evaluation.decoder,
        batch_size=evaluation.batch_size,
        best_of=profile.pressures.best_of,
    )
    recipes: list[tuple[JobKind, AnyRecipe]] = [
        (REFERENCE_POLICY, profile.reference),
        (REWARD_MODEL, profile.reward_model),
        *((ALIGNED_POLICY, recipe) for recipe in profile.recipes.values()),
        ("samples", samples),
    ]
    return [plan_job(_spec(profile, kind, recipe)) for kind, recipe in recipes]


def plan_job(spec: JobSpec) -> dict[str, Any]:
    """What a job would do: its arguments, its adapter, and what this machine cannot check.

    Raises:
        TrainingError: If TRL, transformers or peft refuse an argument.
    """
    import torch

    unchecked = []
    if isinstance(spec.model, HubModel):
        unchecked.append(
            f"weights, tokenizer and chat template of {spec.model.name} at {spec.model.revision}"
        )
    if spec.hardware.device == "cuda" and not torch.cuda.is_available():
        unchecked.append(
            f"device cuda and precision {spec.hardware.precision}: there is no GPU here, so the"
            " arguments were built for float32 on the CPU"
        )
        spec = spec.model_copy(
            update={
                "hardware": Hardware(
                    device="cpu", precision="float32", threads=spec.hardware.threads
                )
            }
        )
    plan: dict[str, Any] = {
        "kind": spec.kind,
        "model": spec.model.model_dump(mode="json"),
        "recipe": spec.recipe.model_dump(mode="json"),
    }
    if spec.method.arguments is not None:
        arguments, lora = _built(spec)
        plan["arguments"] = {
            name: getattr(arguments, name) for name in SHOWN if hasattr(arguments, name)
        }
        plan["adapter"] = _adapter(lora)
    return {**plan, "not checked here": unchecked}


def _built(spec: JobSpec) -> tuple[Any, Any]:
    """The trainer's arguments and the adapter's configuration."""
    method = spec.method
    build = getattr(importlib.import_module(method.module), str(method.arguments))
    with (
        TemporaryDirectory() as folder,
        warnings.catch_warnings(action="ignore", category=FutureWarning),
    ):
        try:
            return build(spec.recipe, spec.model, spec.hardware, Path(folder))  # type: ignore[no-any-return]  # by name
        except (TypeError, ValueError) as error:
            raise TrainingError(f"{spec.kind}: the arguments are refused: {error}") from error


def _adapter(lora: Any) -> dict[str, Any] | None:
    if lora is None:
        return None
    return {
        "rank": lora.r,
        "alpha": lora.lora_alpha,
        "modules": sorted(lora.target_modules),
        "in full": lora.modules_to_save,
    }


def _spec(profile: Profile, kind: JobKind, recipe: AnyRecipe) -> JobSpec:
    method = method_of(kind, recipe)
    return JobSpec(
        kind=kind,
        inputs=dict.fromkeys(method.inputs, ABSENT),
        certificates=dict.fromkeys(method.certified, ABSENT),
        model=profile.model,
        recipe=recipe,
        hardware=profile.hardware,
        rubric=ABSENT,
        chat_template=template_identity(profile.model),
        source=ABSENT,
        packages=ABSENT,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the plans of a profile, or of one job; exit code 2 when something is refused."""
    parser = argparse.ArgumentParser(
        prog="python -m plumbline.training.dry_run",
        description="Build every argument of a profile's jobs, and train nothing.",
    )
    parser.add_argument("profile", nargs="?", help="name of a profile in configs/")
    parser.add_argument("--job", type=Path, metavar="FOLDER", help="a job's folder with job.json")
    options = parser.parse_args(arguments)
    if (options.profile is None) == (options.job is None):
        parser.error("give a profile, or --job FOLDER")
    try:
        plans = plan_profile(load_profile(options.profile)) if options.profile else None
        if plans is None:
            verify_job(job := read_job(options.job))
            plans = [plan_job(job.spec)]
    except PlumblineError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(json.dumps(plans, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
