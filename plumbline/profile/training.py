"""Recipes: what each trained model of a profile is trained with."""

from typing import Literal, Self

from pydantic import Field, model_validator

from plumbline.profile.evaluation import BestOf
from plumbline.records import Record
from plumbline.schema.conversations import Decoder


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


class Recipe(Record):
    """What a job is asked to do; `plumbline.training.job.kinds` says which method does it."""


class SupervisedRecipe(Recipe):
    """Supervised fine-tuning of the reference policy."""

    seed: int = Field(ge=0)
    optimizer: Optimizer


class RewardRecipe(Recipe):
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


class DPORecipe(Recipe):
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


class SamplesRecipe(Recipe):
    """How one response to each held-out prompt is sampled from the reference, from the aligned
    policy and, where there is one, from the champion."""

    decoder: Decoder
    batch_size: int = Field(gt=0, description="prompts generated at once")
    best_of: BestOf | None = Field(
        default=None,
        description=(
            "further responses of the reference, for the over-optimization curve; null draws none"
        ),
    )

    @model_validator(mode="after")
    def _greedy_has_no_top_p(self) -> Self:
        if self.decoder.temperature == 0 and self.decoder.top_p != 1:
            raise ValueError("decoder.top_p has no effect at temperature 0; remove it")
        return self


# What a profile may ask for, by the kind of artifact. A second recipe of a kind makes its line a
# union that `objective` discriminates.
ReferenceRecipe = SupervisedRecipe
RewardModelRecipe = RewardRecipe
PolicyRecipe = DPORecipe
AnyRecipe = ReferenceRecipe | RewardModelRecipe | PolicyRecipe | SamplesRecipe


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
