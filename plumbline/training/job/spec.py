"""What a training or sampling job is: its specification, what the worker gets, and what it gives
back."""

from pathlib import Path
from typing import Annotated, Any, Self

from pydantic import Field, model_validator

from plumbline.profile.models import Model
from plumbline.profile.training import AnyRecipe, Hardware
from plumbline.records import Record
from plumbline.schema.identifiers import Digest
from plumbline.schema.suites import Suite
from plumbline.storage.artifacts import FileEntry
from plumbline.training.job.kinds import JobKind, Method, method_of
from plumbline.training.models.chat_template import template_identity


class JobSpec(Record):
    """Everything that determines the result of a job; its digest is the key of the training
    cache."""

    kind: JobKind
    inputs: dict[str, Digest] = Field(description="role to tree digest")
    certificates: dict[str, Digest] = Field(
        description="role to the digest of the suite whose certificate the input must have"
    )
    model: Annotated[Model, Field(discriminator="kind")]
    recipe: AnyRecipe
    hardware: Hardware
    rubric: Digest = Field(description="tree digest of the rubric under which the data was judged")
    chat_template: Digest = Field(
        description="see plumbline.training.models.chat_template.template_identity"
    )
    source: Digest = Field(
        description="digest of every module of the library that the job can import"
    )
    packages: Digest = Field(description="code_identity.packages_digest")

    @property
    def method(self) -> Method:
        """The row of `plumbline.training.job.kinds` that runs this job."""
        return method_of(self.kind, self.recipe)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        method = self.method
        roles, optional = method.inputs, method.optional
        if not roles <= self.inputs.keys() <= roles | optional:
            also = f" and at most {sorted(optional)}" if optional else ""
            raise ValueError(
                f"a {self.kind} job takes the inputs {sorted(roles)}{also}, not"
                f" {sorted(self.inputs)}"
            )
        if self.certificates.keys() != method.certified:
            raise ValueError(
                f"a {self.kind} job needs certificates for {sorted(method.certified)}, not"
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

    def input_folders(self) -> dict[str, Path]:
        """Folder of each input tree in the store, by role."""
        trees = Path(self.store) / "trees"
        return {
            role: trees / source.tree.removeprefix("sha256:")
            for role, source in self.inputs.items()
        }

    @model_validator(mode="after")
    def _matches_spec(self) -> Self:
        given = {role: source.tree for role, source in self.inputs.items()}
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
