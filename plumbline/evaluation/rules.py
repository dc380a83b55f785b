"""The rules of a profile about measurement: the vault, the failure pressures, the judges and the guardrail."""

from typing import Annotated, Literal, Self

from pydantic import Field, StringConstraints, model_validator

from plumbline.data.rules import RelativePath
from plumbline.data.schema import Identifier, Text
from plumbline.records import Record

Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
VariantName = Literal["polite", "terse", "shouted", "transcript"]
"""How a held-out prompt is worded anew: with courtesies, without them, in capitals, or as a transcript of roles."""
OwnSuite = Literal["agent-actions"]
"""Suites that come with Plumbline, in configs/vault/."""


class SuiteRule(Record):
    """What keeps one suite of the vault stable and unworn."""

    pin: Digest | None = Field(default=None, description="digest that the suite must have; null: the one that its first opening found, kept in the ledger")
    budget: int = Field(gt=0, description="policies that the suite may judge before it has told too much and is renewed")


class VaultRule(Record):
    """The held-out suites: how they are pinned, how often they may be used, and what is added to them."""

    suites: dict[Identifier, SuiteRule] = Field(min_length=1, description="rule of every suite by name; a suite without a rule is an error")
    own: tuple[OwnSuite, ...] = Field(default=(), description="suites that come with Plumbline")
    variants: tuple[VariantName, ...] = Field(default=(), description="slices that are made by wording prompts anew: `<slice>.<variant>`")
    variant_prompts: int = Field(default=0, ge=0, description="prompts of each slice that are worded anew, for each variant")
    cluster: Identifier | None = Field(default=None, description="fact of a held-out prompt that names what it is about; prompts that share it are not independent")

    @model_validator(mode="after")
    def _variants_have_prompts(self) -> Self:
        if bool(self.variants) != (self.variant_prompts > 0):
            raise ValueError("variants and variant_prompts belong together: give both, or neither")
        return self


class BestOf(Record):
    """The responses from which the best is taken, for the over-optimization curve (Gao et al. 2023)."""

    n: int = Field(gt=1, le=64, description="responses of the reference policy to each prompt")
    prompts: int = Field(gt=0, description="held-out prompts")


class PressureRule(Record):
    """When the five failure pressures stop a release."""

    best_of: BestOf
    reward_gap: float = Field(ge=0, description="proxy reward: how far the judged quality may fall while the reward rises, in units of the quality metric")
    refusal_rise: float = Field(ge=0, lt=1, description="refusal shortcut: how much over-refusal may rise against the reference on any slice to be answered")
    template_gap: float = Field(ge=0, lt=1, description="template overfit: how much worse a variant may be than the slice it was made from")
    ambiguous: float = Field(ge=0, le=1, description="policy ambiguity: largest share of doubly judged items on which the annotators do not agree")
    changed_answers: float = Field(ge=0, le=1, description="feedback drift: largest share of prompts on which new labels turned the champion's behaviour around")


class LLMJudge(Record):
    """A judge behind an OpenAI-compatible endpoint."""

    base_url: Text = Field(description="for example https://host/v1; the key is read from the environment")
    model: Text
    api_key_variable: Text = Field(default="OPENAI_API_KEY", description="environment variable that holds the key")
    max_tokens: int = Field(default=512, gt=0)
    concurrency: int = Field(default=8, gt=0)


class JudgesRule(Record):
    """Who judges beside the scorer, and how reliable a judge must be to be heard."""

    refusal_labels: RelativePath | None = Field(default=None, description="folder below PLUMBLINE_DATA with labelled completions, on which the refusal detector is trained")
    llm: LLMJudge | None = Field(default=None, description="null: no language model judges")
    min_agreement: float = Field(gt=0.5, lt=1, description="agreement with human labels that a judge must reach, as the lower bound of its interval")
    max_flips: float = Field(gt=0, lt=1, description="largest share of verdicts that turn round with the order of the responses")


class GuardrailRule(Record):
    """How the runtime threshold is fitted and measured."""

    max_fpr: float = Field(gt=0, lt=1, description="false-positive rate that the threshold may have, as the upper bound of its interval")
    max_fnr: float = Field(gt=0, lt=1, description="false-negative rate from which the guardrail is not worth shipping, as the upper bound of its interval")
    level: float = Field(gt=0.5, lt=1, description="confidence level of the bounds")
    calibration: float = Field(gt=0, lt=1, description="share of the prompt groups on which the threshold is fitted")
    test: float = Field(gt=0, lt=1, description="share of the prompt groups on which it is measured; the rest trains the classifier")

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.calibration + self.test >= 1:
            raise ValueError(f"calibration {self.calibration:g} and test {self.test:g} leave nothing to train on")
        return self
