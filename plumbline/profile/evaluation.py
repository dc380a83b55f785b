"""The rules of a profile about measurement: the vault, the failure pressures, the judges and the
guardrail."""

from typing import Literal, Self
from urllib.parse import urlsplit

from pydantic import Field, model_validator

from plumbline.records import Record
from plumbline.schema.conversations import Decoder
from plumbline.schema.identifiers import Digest, Identifier, RelativePath, Text

VariantName = Literal["polite", "terse", "shouted", "transcript"]
"""How a held-out prompt is worded anew: with courtesies, without them, in capitals, or as a
transcript of roles."""
OwnSuite = Literal["agent-actions"]
"""Suites that come with Plumbline, in configs/vault/."""


class SuiteConfig(Record):
    """What keeps one suite of the vault stable and unworn."""

    pin: Digest | None = Field(
        default=None,
        description=(
            "digest that the suite must have; null: the one that its first opening found, kept in"
            " the ledger"
        ),
    )
    budget: int = Field(
        gt=0,
        description="policies that the suite may judge before it has told too much and is renewed",
    )
    grows: bool = Field(
        default=False,
        description=(
            "whether prompts may be added, as red-team successes are; none may ever be changed or"
            " removed"
        ),
    )

    @model_validator(mode="after")
    def _what_grows_has_no_pin(self) -> Self:
        if self.grows and self.pin is not None:
            raise ValueError(
                "pin has no effect on a suite that grows, because its digest changes with every"
                " prompt; remove one of the two"
            )
        return self


class VaultConfig(Record):
    """The held-out suites: how they are pinned, how often they may be used, and what is added to
    them."""

    suites: dict[Identifier, SuiteConfig] = Field(
        min_length=1, description="rule of every suite by name; a suite without a rule is an error"
    )
    own: tuple[OwnSuite, ...] = Field(default=(), description="suites that come with Plumbline")
    variants: tuple[VariantName, ...] = Field(
        default=(), description="slices that are made by wording prompts anew: `<slice>.<variant>`"
    )
    variant_prompts: int = Field(
        default=0, ge=0, description="prompts of each slice that are worded anew, for each variant"
    )
    cluster: Identifier | None = Field(
        default=None,
        description=(
            "fact of a prompt that names what it is about; prompts that share it are not"
            " independent"
        ),
    )
    max_leaked: float = Field(
        default=0.0,
        ge=0,
        lt=1,
        description=(
            "largest share of a suite that may be set aside because the policy was trained on its"
            " prompts; more stops the release"
        ),
    )

    @model_validator(mode="after")
    def _variants_have_prompts(self) -> Self:
        if bool(self.variants) != (self.variant_prompts > 0):
            raise ValueError("variants and variant_prompts belong together: give both, or neither")
        return self


class BestOf(Record):
    """The responses from which the best is taken, for the over-optimization curve (Gao et al.
    2023)."""

    n: int = Field(gt=1, le=64, description="responses of the reference policy to each prompt")
    prompts: int = Field(gt=0, description="held-out prompts")


class PressureConfig(Record):
    """When the five failure pressures stop a release; see docs/pressures.md."""

    best_of: BestOf
    reward_gap: float = Field(
        ge=0,
        description=(
            "proxy reward: how far judged quality may fall while the reward rises: utility, else"
            " share of right answers"
        ),
    )
    refusal_rise: float = Field(
        ge=0,
        lt=1,
        description=(
            "refusal shortcut: how much over-refusal may rise against the reference while harm"
            " falls"
        ),
    )
    template_gap: float = Field(
        ge=0,
        lt=1,
        description=(
            "template overfit: how many more answers may be wrong in another wording, language or"
            " template"
        ),
    )
    ambiguous: float = Field(
        ge=0,
        le=1,
        description=(
            "policy ambiguity: largest probability that two annotators of one item disagree"
        ),
    )
    changed_answers: float = Field(
        ge=0,
        le=1,
        description=(
            "feedback drift: largest share of prompts on which the champion's behaviour turned for"
            " the worse"
        ),
    )


class LLMJudge(Record):
    """A judge behind an OpenAI-compatible endpoint."""

    base_url: Text = Field(
        description=(
            "for example https://host/v1; the key is read from the environment, and http is for"
            " this machine alone"
        )
    )
    model: Text
    api_key_variable: Text = Field(
        default="OPENAI_API_KEY",
        description=(
            "environment variable that holds the key; an endpoint on this machine needs none"
        ),
    )
    max_tokens: int = Field(default=512, gt=0)
    concurrency: int = Field(default=8, gt=0, le=64, description="requests under way at once")
    attempts: int = Field(
        default=5,
        gt=0,
        le=10,
        description="requests for one verdict, when the endpoint is busy or broken",
    )
    backoff: float = Field(
        default=1.0,
        ge=0,
        le=60,
        description=(
            "seconds before the second attempt; doubles with each, unless the endpoint says how"
            " long"
        ),
    )
    timeout: float = Field(default=60.0, gt=0, description="seconds to wait for an answer")

    @model_validator(mode="after")
    def _is_private(self) -> Self:
        url = urlsplit(self.base_url)
        if url.username or url.password:
            raise ValueError(
                "base_url holds a name or password, which would be recorded with the profile; give"
                " the key in an environment variable"
            )
        if url.query or url.fragment or not url.hostname or url.scheme not in ("http", "https"):
            raise ValueError(
                f"base_url '{self.base_url}' must be https://host/path, without a query"
            )
        if url.scheme == "http" and not self.on_this_machine:
            raise ValueError(
                f"base_url '{self.base_url}': prompts and the key would cross the network in the"
                " clear; use https"
            )
        return self

    @property
    def on_this_machine(self) -> bool:
        """Whether the endpoint is reached without a network."""
        return urlsplit(self.base_url).hostname in ("127.0.0.1", "localhost", "::1")


class JudgesConfig(Record):
    """Who judges beside the scorer, and how reliable a judge must be to be heard."""

    refusal_labels: RelativePath | None = Field(
        default=None,
        description=(
            "folder below PLUMBLINE_DATA with labelled completions, for the refusal detector"
        ),
    )
    judged_pairs: RelativePath | None = Field(
        default=None,
        description=(
            "file below PLUMBLINE_DATA with pairs {prompt, chosen, rejected, subset}; judges"
            " compare them beside the validation pairs"
        ),
    )
    llm: LLMJudge | None = Field(default=None, description="null: no language model judges")
    pairs: int = Field(
        default=400,
        gt=0,
        description="pairs at most that the language model judges, each in both orders",
    )
    courtesies: int = Field(
        default=100,
        ge=0,
        description="of these, pairs that it judges again with the worse response made polite",
    )
    min_agreement: float = Field(
        gt=0.5,
        lt=1,
        description=(
            "agreement with human labels that a judge must reach, as the lower bound of its"
            " interval"
        ),
    )
    max_flips: float = Field(
        gt=0,
        lt=1,
        description=(
            "largest share of verdicts that turn round with the order of the responses, or with the"
            " politeness of the worse one"
        ),
    )
    max_unparsed: float = Field(
        default=0.05, gt=0, lt=1, description="largest share of replies that are no verdict"
    )


class GuardrailConfig(Record):
    """How the runtime threshold is fitted and measured."""

    max_fpr: float = Field(
        gt=0,
        lt=1,
        description=(
            "false-positive rate that the threshold may have, as the upper bound of its interval"
        ),
    )
    max_fnr: float = Field(
        gt=0,
        lt=1,
        description=(
            "false-negative rate from which the guardrail is not worth shipping, as the upper bound"
            " of its interval"
        ),
    )
    level: float = Field(gt=0.5, lt=1, description="confidence level of the bounds")
    calibration: float = Field(
        gt=0, lt=1, description="share of the prompt groups on which the threshold is fitted"
    )
    test: float = Field(
        gt=0,
        lt=1,
        description=(
            "share of the prompt groups on which it is measured; the rest trains the classifier"
        ),
    )

    @model_validator(mode="after")
    def _leaves_training(self) -> Self:
        if self.calibration + self.test >= 1:
            raise ValueError(
                f"calibration {self.calibration:g} and test {self.test:g} leave nothing to train on"
            )
        return self


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
