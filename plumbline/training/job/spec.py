"""What a training or sampling job is: its specification, what the worker gets, and what it gives
back."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from plumbline.profile.evaluation import BestOf
from plumbline.profile.models import HubModel, ScratchModel
from plumbline.profile.training import DPORecipe, Hardware, RewardRecipe, SupervisedRecipe
from plumbline.records import Record
from plumbline.schema.conversations import Decoder
from plumbline.schema.identifiers import Digest
from plumbline.schema.suites import Suite
from plumbline.storage.artifacts import FileEntry
from plumbline.training.models.chat_template import template_identity

JobKind = Literal["reference_policy", "reward_model", "aligned_policy", "samples"]

INPUT_ROLES: dict[JobKind, frozenset[str]] = {
    "reference_policy": frozenset({"demonstrations"}),
    "reward_model": frozenset({"preference_data", "reference_policy"}),
    "aligned_policy": frozenset({"preference_data", "reference_policy"}),
    "samples": frozenset({"reference_policy", "aligned_policy", "reward_model", "eval_vault"}),
}
"""The inputs of each kind of job; a spec has all of these."""

OPTIONAL_ROLES: dict[JobKind, frozenset[str]] = {
    "reference_policy": frozenset(),
    "reward_model": frozenset(),
    "aligned_policy": frozenset(),
    "samples": frozenset({"champion_policy"}),
}
"""The inputs that a spec may have beside them: the released policy that the new one is held
against."""

CERTIFIED_ROLES = frozenset({"demonstrations", "preference_data"})
"""The inputs that no job may read without a certificate."""


class SamplesRecipe(Record):
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


class JobSpec(Record):
    """Everything that determines the result of a job; its digest is the key of the training
    cache."""

    kind: JobKind
    inputs: dict[str, Digest] = Field(description="role to tree digest")
    certificates: dict[str, Digest] = Field(
        description="role to the digest of the suite whose certificate the input must have"
    )
    model: Annotated[ScratchModel | HubModel, Field(discriminator="kind")]
    recipe: SupervisedRecipe | RewardRecipe | DPORecipe | SamplesRecipe
    hardware: Hardware
    rubric: Digest = Field(description="tree digest of the rubric under which the data was judged")
    chat_template: Digest = Field(
        description="see plumbline.training.models.chat_template.template_identity"
    )
    source: Digest = Field(
        description="code_identity.source_digest of plumbline/training and plumbline/objectives"
    )
    packages: Digest = Field(description="code_identity.packages_digest")

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        recipe = {
            "reference_policy": SupervisedRecipe,
            "reward_model": RewardRecipe,
            "aligned_policy": DPORecipe,
            "samples": SamplesRecipe,
        }[self.kind]
        if not isinstance(self.recipe, recipe):
            raise ValueError(
                f"a {self.kind} job takes a {recipe.__name__}, not a {type(self.recipe).__name__}"
            )
        roles = INPUT_ROLES[self.kind]
        if not roles <= self.inputs.keys() <= roles | OPTIONAL_ROLES[self.kind]:
            also = (
                f" and at most {sorted(OPTIONAL_ROLES[self.kind])}"
                if OPTIONAL_ROLES[self.kind]
                else ""
            )
            raise ValueError(
                f"a {self.kind} job takes the inputs {sorted(roles)}{also}, not"
                f" {sorted(self.inputs)}"
            )
        if self.certificates.keys() != roles & CERTIFIED_ROLES:
            raise ValueError(
                f"a {self.kind} job needs certificates for {sorted(roles & CERTIFIED_ROLES)}, not"
                f" for {sorted(self.certificates)}"
            )
        if self.chat_template != template_identity(self.model):
            raise ValueError(
                f"chat_template is {self.chat_template}, but the template of the model is"
                f" {template_identity(self.model)}"
            )
        return self


class JobInput(Record):
    """One input tree of a job, so that the worker can re-hash it."""

    tree: Digest
    files: dict[str, FileEntry]


class Job(Record):
    """What is handed to the worker: the spec, and where to find what it names. Not part of the
    identity of the result."""

    spec: JobSpec
    store: str = Field(description="root folder of the artifact store")
    inputs: dict[str, JobInput]
    suites: dict[str, Suite] = Field(
        description="the suites that `spec.certificates` names, by role"
    )

    @model_validator(mode="after")
    def _matches_spec(self) -> Self:
        given = {role: one.tree for role, one in self.inputs.items()}
        if given != self.spec.inputs:
            raise ValueError(f"the job hands over {given}, but its spec names {self.spec.inputs}")
        suites = {role: suite.digest() for role, suite in self.suites.items()}
        if suites != self.spec.certificates:
            raise ValueError(
                f"the job hands over the suites {suites}, but its spec names"
                f" {self.spec.certificates}"
            )
        return self


class JobResult(Record):
    """What the worker says about its output; the parent re-hashes before it believes."""

    tree: Digest
    files: dict[str, FileEntry]
    facts: dict[str, Any]
