"""Profiles: one complete, committed, named configuration of a run.

A profile is chosen with `PLUMBLINE_PROFILE`, never patched: every hyperparameter, threshold and
seed stands in the file, and nowhere else.
"""

import os
from pathlib import Path
from typing import Annotated, Self

from pydantic import Field, model_validator

from plumbline.errors import ConfigError
from plumbline.profile.data import (
    AnnotatorConfig,
    BatchConfig,
    DemonstrationConfig,
    DriftConfig,
    PreferenceConfig,
    RetrainingConfig,
    ReviewConfig,
)
from plumbline.profile.evaluation import (
    Evaluation,
    GuardrailConfig,
    JudgesConfig,
    PressureConfig,
    VaultConfig,
)
from plumbline.profile.models import HubModel, ScratchModel
from plumbline.profile.release import Gate, SignoffConfig
from plumbline.profile.sources import FilesSource, SandboxSource
from plumbline.profile.training import Hardware, PolicyRecipe, ReferenceRecipe, RewardModelRecipe
from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, RelativePath, Text
from plumbline.strict_yaml import load_record


class Profile(Record):
    """A complete configuration; see the files in configs/ for examples and docs/configuration.md
    for every field."""

    name: Identifier
    description: Text
    seed: int = Field(ge=0, description="seed of the data: sandbox world, splits")
    rubric: RelativePath = Field(description="rubric file, relative to configs/")
    source: Annotated[SandboxSource | FilesSource, Field(discriminator="kind")]
    batches: BatchConfig
    retraining: RetrainingConfig
    demonstrations: DemonstrationConfig
    preferences: PreferenceConfig
    annotators: AnnotatorConfig
    drift: DriftConfig
    review: ReviewConfig
    model: Annotated[ScratchModel | HubModel, Field(discriminator="kind")]
    reference: ReferenceRecipe
    reward_model: RewardModelRecipe
    recipes: dict[Identifier, PolicyRecipe] = Field(
        min_length=1, description="recipes by name; each is a partition of aligned_policy"
    )
    candidate: Identifier = Field(description="the recipe that jobs, sensors and schedules train")
    vault: VaultConfig
    evaluation: Evaluation
    judges: JudgesConfig | None = Field(
        default=None, description="null: nobody judges beside the scorer"
    )
    pressures: PressureConfig
    guardrail: GuardrailConfig | None = Field(
        default=None, description="null: the release ships without a runtime threshold"
    )
    gates: tuple[Gate, ...] = Field(min_length=1)
    signoff: SignoffConfig
    hardware: Hardware

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.candidate not in self.recipes:
            raise ValueError(
                f"candidate '{self.candidate}' is not one of the recipes {sorted(self.recipes)}"
            )
        if isinstance(self.source, FilesSource) and self.evaluation.scorer == "sandbox":
            raise ValueError(
                "evaluation.scorer 'sandbox' judges sandbox prompts only; use 'rules' or 'detector'"
                " with files"
            )
        if self.evaluation.scorer == "detector" and (
            self.judges is None or self.judges.refusal_labels is None
        ):
            raise ValueError(
                "evaluation.scorer 'detector' is trained on labels: name their folder in"
                " judges.refusal_labels"
            )
        ids = [gate.id for gate in self.gates]
        if len(set(ids)) != len(ids):
            raise ValueError(f"gate ids repeat: {sorted({i for i in ids if ids.count(i) > 1})}")
        return self


CONFIGS = Path(
    os.environ.get("PLUMBLINE_CONFIGS") or Path(__file__).resolve().parents[2] / "configs"
).absolute()
"""Folder of profiles, rubrics and suites; PLUMBLINE_CONFIGS names another one, for profiles that
live outside the project."""


def load_profile(name: str, configs: Path = CONFIGS) -> Profile:
    """Read `configs/<name>.yaml`.

    Raises:
        ConfigError: If there is no such profile, or it is invalid; names file, line and field.
    """
    path = configs / f"{name}.yaml"
    if not path.is_file():
        known = ", ".join(sorted(p.stem for p in configs.glob("*.yaml")))
        raise ConfigError(
            f"there is no profile '{name}' in {configs}; PLUMBLINE_PROFILE can be one of: {known}"
        )
    profile = load_record(path, Profile)
    if profile.name != name:
        raise ConfigError(
            f"{path}:1: name: the file is called '{name}' but names itself '{profile.name}'; make"
            " them equal"
        )
    return profile
