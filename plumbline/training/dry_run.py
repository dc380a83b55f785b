"""A dry run: every argument of a profile's jobs is built as training would build it, without data,
weights or a network.

`python -m plumbline.training.dry_run PROFILE` prints the plan. It finds knobs that TRL,
transformers or peft refuse, before a GPU is rented.
"""

import argparse
import json
import sys
import warnings
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from plumbline.errors import PlumblineError, TrainingError
from plumbline.profile.models import HubModel
from plumbline.profile.profile import Profile, load_profile
from plumbline.profile.training import Hardware
from plumbline.training.job.spec import (
    CERTIFIED_ROLES,
    INPUT_ROLES,
    JobKind,
    JobSpec,
    SamplesRecipe,
)
from plumbline.training.models.chat_template import template_identity

ABSENT = "sha256:" + "0" * 64
"""Stands for inputs, code and packages, which a dry run does not have."""
SHOWN = (
    "num_train_epochs", "per_device_train_batch_size", "gradient_accumulation_steps", "learning_rate", "warmup_steps", "weight_decay", "adam_beta2",
    "bf16", "use_cpu", "gradient_checkpointing", "save_steps", "logging_steps", "seed", "beta", "loss_type", "loss_weights", "center_rewards_coefficient",
)  # fmt: skip
"""The arguments that a plan shows, where the trainer has them."""


def plan_profile(profile: Profile) -> list[dict[str, Any]]:
    """The plans of all jobs of a profile; `plan_job` says what can go wrong."""
    recipes: list[tuple[JobKind, Any]] = [
        ("reference_policy", profile.reference),
        ("reward_model", profile.reward_model),
    ]
    recipes += [("aligned_policy", recipe) for recipe in profile.recipes.values()]
    recipes += [
        (
            "samples",
            SamplesRecipe(
                decoder=profile.evaluation.decoder,
                batch_size=profile.evaluation.batch_size,
                best_of=profile.pressures.best_of,
            ),
        )
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
    if spec.kind != "samples":
        with (
            TemporaryDirectory() as folder,
            warnings.catch_warnings(action="ignore", category=FutureWarning),
        ):
            try:
                arguments, lora = _builder(spec.kind)(spec, Path(folder))
            except (TypeError, ValueError) as error:
                raise TrainingError(f"{spec.kind}: the arguments are refused: {error}") from error
        plan["arguments"] = {
            name: getattr(arguments, name) for name in SHOWN if hasattr(arguments, name)
        }
        plan["adapter"] = (
            {
                "rank": lora.r,
                "alpha": lora.lora_alpha,
                "modules": sorted(lora.target_modules),
                "in full": lora.modules_to_save,
            }
            if lora
            else None
        )
    return {**plan, "not checked here": unchecked}


def _builder(kind: JobKind) -> Callable[[JobSpec, Path], tuple[Any, Any]]:
    if kind == "reference_policy":
        from plumbline.training.methods.sft import sft_arguments

        return sft_arguments
    if kind == "reward_model":
        from plumbline.training.methods.reward_model import reward_arguments

        return reward_arguments
    from plumbline.training.methods.dpo import dpo_arguments

    return dpo_arguments


def _spec(profile: Profile, kind: JobKind, recipe: Any) -> JobSpec:
    return JobSpec(
        kind=kind,
        inputs=dict.fromkeys(INPUT_ROLES[kind], ABSENT),
        certificates=dict.fromkeys(INPUT_ROLES[kind] & CERTIFIED_ROLES, ABSENT),
        model=profile.model,
        recipe=recipe,
        hardware=profile.hardware,
        rubric=ABSENT,
        chat_template=template_identity(profile.model),
        source=ABSENT,
        packages=ABSENT,
    )


def main(arguments: list[str] | None = None) -> int:
    """Print the plan of a profile; exit code 2 when something is refused."""
    parser = argparse.ArgumentParser(
        prog="python -m plumbline.training.dry_run",
        description="Build every argument of a profile's jobs, and train nothing.",
    )
    parser.add_argument("profile", help="name of a profile in configs/")
    try:
        plans = plan_profile(load_profile(parser.parse_args(arguments).profile))
    except PlumblineError as error:
        print(" ".join(str(error).split()), file=sys.stderr)
        return 2
    print(json.dumps(plans, indent=2))
    return 0


if __name__ == "__main__":
    sys.exit(main())
