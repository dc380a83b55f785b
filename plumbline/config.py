"""Profiles: one complete, committed, named configuration of a run.

A profile is chosen with `PLUMBLINE_PROFILE`, never patched: every hyperparameter, threshold and
seed stands in the file, and nowhere else.
"""

import os
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from plumbline.data.rules import (
    AnnotatorRule,
    BatchRule,
    DemonstrationRule,
    DriftRule,
    PreferenceRule,
    RelativePath,
    RetrainingRule,
    ReviewRule,
)
from plumbline.data.schema import Decoder, Identifier, Text
from plumbline.errors import ConfigError
from plumbline.evaluation.rules import GuardrailRule, JudgesRule, PressureRule, VaultRule
from plumbline.records import Record
from plumbline.release.gates import Gate
from plumbline.release.rules import SignoffRule
from plumbline.strict_yaml import load_record


class SandboxSource(Record):
    """Data from the synthetic world of `plumbline.sandbox`."""

    kind: Literal["sandbox"]
    demonstrations: int = Field(gt=0, description="demonstrations in all")
    pairs: int = Field(gt=0, description="judgments of pairs in all, over all batches")
    verdicts: int = Field(
        default=0,
        ge=0,
        description=(
            "judgments of single responses, in batches of their own; the guardrail is fitted on"
            " them"
        ),
    )
    demonstration_languages: tuple[float, float] = Field(
        description="shares of (en, es); they sum to 1"
    )
    pair_languages: tuple[float, float] = Field(
        description="shares of (en, es) among the feedback events; they sum to 1"
    )
    annotators: int = Field(gt=1)
    length_bias: float = Field(
        ge=0, description="utility that annotators see in one filler sentence and that is not there"
    )
    flip_rate: float = Field(
        ge=0, lt=0.5, description="share of judgments that are flipped at random"
    )
    prompts_per_slice: int = Field(gt=0, description="held-out prompts in each slice")

    @model_validator(mode="after")
    def _shares(self) -> Self:
        for name in ("demonstration_languages", "pair_languages"):
            if abs(sum(getattr(self, name)) - 1) > 1e-9:
                raise ValueError(f"{name} must sum to 1")
        return self


FileFormat = Literal[
    "jsonl",
    "hh",
    "tulu",
    "sharegpt",
    "trl",
    "kto",
    "argilla",
    "label-studio",
    "alpaca",
    "xstest",
    "redteam",
    "rewardbench",
]
"""How a file of the outside world is written."""


class SourceFile(Record):
    """One file or folder below PLUMBLINE_DATA, and the format it is in."""

    format: FileFormat
    path: RelativePath
    limit: int | None = Field(
        default=None, gt=0, description="rows to take from the start; null takes all"
    )
    suite: Identifier | None = Field(
        default=None,
        description=(
            "suite of the vault that held-out prompts belong to; null: `xstest`, `hh`,"
            " `rewardbench`, or the name of the file"
        ),
    )


class FilesSource(Record):
    """Data from files below the folder that PLUMBLINE_DATA names."""

    kind: Literal["files"]
    feedback: tuple[SourceFile, ...] = Field(min_length=1)
    demonstrations: tuple[SourceFile, ...] = Field(min_length=1)
    held_out: tuple[SourceFile, ...] = Field(min_length=1)


class ScratchModel(Record):
    """A small Llama made from scratch, with a tokenizer built from the demonstrations."""

    kind: Literal["scratch"]
    tokenizer: Literal["words", "bytes"] = Field(
        description="`words`: whole words with letters as fallback; `bytes`: byte-level BPE"
    )
    vocabulary: int | None = Field(
        default=None, gt=256, description="size of the byte-level BPE; null for `words`"
    )
    hidden: int = Field(gt=0)
    layers: int = Field(gt=0)
    heads: int = Field(gt=0)
    feed_forward: int = Field(gt=0)
    init_std: float = Field(gt=0)
    max_length: int = Field(gt=0, description="positions of the model, in tokens")

    @model_validator(mode="after")
    def _vocabulary_has_effect(self) -> Self:
        if (self.tokenizer == "bytes") != (self.vocabulary is not None):
            raise ValueError(
                "vocabulary is the size of the `bytes` tokenizer: give it there, and only there"
            )
        if self.hidden % self.heads:
            raise ValueError(f"hidden {self.hidden} must be a multiple of heads {self.heads}")
        return self


class Lora(Record):
    """Low-rank adaptation (Hu et al. 2021)."""

    rank: int = Field(gt=0)
    alpha: float = Field(gt=0)
    dropout: float = Field(ge=0, lt=1)


class HubModel(Record):
    """A pre-trained chat model, named by repository and exact revision."""

    kind: Literal["hub"]
    name: Text
    revision: Annotated[str, StringConstraints(pattern=r"^[0-9a-f]{40}$")] = Field(
        description="commit of the model repository"
    )
    max_length: int = Field(gt=0, description="longest prompt and response together, in tokens")
    lora: Lora | None = None


class Optimizer(Record):
    """One pass of AdamW with a cosine schedule."""

    epochs: int = Field(gt=0)
    batch_size: int = Field(gt=0, description="rows or pairs in one optimizer step")
    micro_batch_size: int | None = Field(
        default=None, gt=0, description="rows on the device at once; null is the whole batch"
    )
    learning_rate: float = Field(gt=0)
    warmup_share: float = Field(
        ge=0, lt=1, description="share of the steps over which the learning rate rises"
    )
    weight_decay: float = Field(ge=0)
    beta2: float = Field(gt=0, lt=1)
    save_every: int = Field(gt=0, description="optimizer steps between checkpoints")

    @model_validator(mode="after")
    def _divides(self) -> Self:
        if self.micro_batch_size is not None and self.batch_size % self.micro_batch_size:
            raise ValueError(
                f"batch_size {self.batch_size} must be a multiple of micro_batch_size"
                f" {self.micro_batch_size}"
            )
        return self


class SupervisedRecipe(Record):
    """Supervised fine-tuning of the reference policy."""

    seed: int = Field(ge=0)
    optimizer: Optimizer


class RewardRecipe(Record):
    """The Bradley-Terry reward model with margin (Llama 2, eq. 2)."""

    seed: int = Field(ge=0)
    optimizer: Optimizer
    margin_scale: float = Field(
        ge=0, description="factor on the rubric's margins; 0 trains without margin"
    )
    centering: float = Field(
        ge=0, description="weight of the squared sum of rewards that keeps them near zero"
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description="share of the labels that is taken to be wrong; 0 trusts every label",
    )


class DPORecipe(Record):
    """Direct preference optimization (Rafailov et al. 2023, eq. 7) with an optional supervised term
    on the chosen response."""

    objective: Literal["dpo"]
    seed: int = Field(ge=0)
    optimizer: Optimizer
    beta: float = Field(gt=0, description="strength of the pull toward the reference policy")
    sft_weight: float = Field(
        ge=0,
        description="weight of the negative log-likelihood of the chosen response, mean per token",
    )
    label_smoothing: float = Field(
        default=0.0,
        ge=0,
        lt=0.5,
        description=(
            "share of the labels that is taken to be wrong (conservative DPO, Mitchell 2023)"
        ),
    )


class Evaluation(Record):
    """How held-out responses are sampled and scored."""

    decoder: Decoder
    batch_size: int = Field(gt=0, description="prompts generated at once")
    scorer: Literal["sandbox", "rules", "detector"] = Field(
        description=(
            "`sandbox` knows the true answer; `rules` matches refusal phrases; `detector` is"
            " trained on the labels of judges.refusal_labels"
        )
    )
    level: float = Field(gt=0.5, lt=1, description="confidence level of every interval")

    @model_validator(mode="after")
    def _greedy_has_no_top_p(self) -> Self:
        if self.decoder.temperature == 0 and self.decoder.top_p != 1:
            raise ValueError("decoder.top_p has no effect at temperature 0; remove it")
        return self


class Hardware(Record):
    """Where training runs."""

    device: Literal["cpu", "cuda"]
    precision: Literal["float32", "bfloat16"]
    threads: int = Field(
        gt=0,
        description=(
            "torch threads; two collapse on a busy machine, one is bit-identical between runs"
        ),
    )

    @model_validator(mode="after")
    def _bf16_needs_cuda(self) -> Self:
        if self.device == "cpu" and self.precision == "bfloat16":
            raise ValueError(
                "precision bfloat16 is slower and changes the numbers on cpu; use float32"
            )
        return self


class Profile(Record):
    """A complete configuration; see the files in configs/ for examples and docs/configuration.md
    for every field."""

    name: Identifier
    description: Text
    seed: int = Field(ge=0, description="seed of the data: sandbox world, splits")
    rubric: RelativePath = Field(description="rubric file, relative to configs/")
    source: Annotated[SandboxSource | FilesSource, Field(discriminator="kind")]
    batches: BatchRule
    retraining: RetrainingRule
    demonstrations: DemonstrationRule
    preferences: PreferenceRule
    annotators: AnnotatorRule
    drift: DriftRule
    review: ReviewRule
    model: Annotated[ScratchModel | HubModel, Field(discriminator="kind")]
    reference: SupervisedRecipe
    reward_model: RewardRecipe
    recipes: dict[Identifier, DPORecipe] = Field(
        min_length=1, description="recipes by name; each is a partition of aligned_policy"
    )
    candidate: Identifier = Field(description="the recipe that jobs, sensors and schedules train")
    vault: VaultRule
    evaluation: Evaluation
    judges: JudgesRule | None = Field(
        default=None, description="null: nobody judges beside the scorer"
    )
    pressures: PressureRule
    guardrail: GuardrailRule | None = Field(
        default=None, description="null: the release ships without a runtime threshold"
    )
    gates: tuple[Gate, ...] = Field(min_length=1)
    signoff: SignoffRule
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
    os.environ.get("PLUMBLINE_CONFIGS") or Path(__file__).resolve().parent.parent / "configs"
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
