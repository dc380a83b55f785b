"""The methods: one row for each way in which a job makes a model or samples.

A row says what a job makes, which recipe asks for it, what it reads, and where the code is. Worker,
dry run, job specs and assets read the rows and know no method by name. A new method is a recipe in
`plumbline.profile.training`, a loss in `plumbline.objectives`, a file in
`plumbline.training.methods` and a row here.
"""

from dataclasses import dataclass
from typing import Final, Literal

from plumbline.profile.training import (
    DPORecipe,
    Recipe,
    RewardRecipe,
    SamplesRecipe,
    SupervisedRecipe,
)
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    CHAMPION_POLICY,
    DEMONSTRATIONS,
    EVAL_VAULT,
    PREFERENCE_DATA,
    REFERENCE_POLICY,
    REWARD_MODEL,
)
from plumbline.storage.import_closure import closure_digest

JobKind = Literal["reference_policy", "reward_model", "aligned_policy", "samples"]
"""What a job makes: the kind of the artifact that its tree becomes."""

CERTIFIED_ROLES: Final = frozenset({DEMONSTRATIONS, PREFERENCE_DATA})
"""The inputs that no job may read without a certificate."""

WORKER: Final = "plumbline.training.worker"
"""The module that runs every job."""


@dataclass(frozen=True)
class Method:
    """How one kind of artifact is made from one type of recipe."""

    kind: JobKind
    recipe: type[Recipe]
    inputs: frozenset[str]
    """Roles that a job must be given."""
    module: str
    """Where `run` and `arguments` are; imported in the job only, for it loads torch and TRL."""
    run: str
    """Function of (recipe, model, hardware, inputs, workspace) that fills the output folder and
    returns the facts."""
    arguments: str | None = None
    """Function of (recipe, model, hardware, folder) that builds the trainer's arguments and the
    adapter's configuration; None where no trainer is used."""
    optional: frozenset[str] = frozenset()
    """Roles that a job may be given beside them."""

    @property
    def certified(self) -> frozenset[str]:
        """Inputs that need a certificate."""
        return self.inputs & CERTIFIED_ROLES

    def source_digest(self) -> str:
        """Digest of every module of the library that a job of this method can import."""
        return closure_digest(WORKER, self.module)


METHODS: Final = (
    Method(
        kind=REFERENCE_POLICY,
        recipe=SupervisedRecipe,
        inputs=frozenset({DEMONSTRATIONS}),
        module="plumbline.training.methods.sft",
        run="train_reference_policy",
        arguments="sft_arguments",
    ),
    Method(
        kind=REWARD_MODEL,
        recipe=RewardRecipe,
        inputs=frozenset({PREFERENCE_DATA, REFERENCE_POLICY}),
        module="plumbline.training.methods.reward_model",
        run="train_reward_model",
        arguments="reward_arguments",
    ),
    Method(
        kind=ALIGNED_POLICY,
        recipe=DPORecipe,
        inputs=frozenset({PREFERENCE_DATA, REFERENCE_POLICY}),
        module="plumbline.training.methods.dpo",
        run="train_aligned_policy",
        arguments="dpo_arguments",
    ),
    Method(
        kind="samples",
        recipe=SamplesRecipe,
        inputs=frozenset({REFERENCE_POLICY, ALIGNED_POLICY, REWARD_MODEL, EVAL_VAULT}),
        module="plumbline.training.sampling.sampling",
        run="draw_samples",
        # The released policy, which the new one is held against.
        optional=frozenset({CHAMPION_POLICY}),
    ),
)


def method_of(kind: str, recipe: Recipe) -> Method:
    """The row by which a recipe makes an artifact of a kind.

    Raises:
        ValueError: If there is no such row; names the recipes that make this kind.
    """
    rows = [method for method in METHODS if method.kind == kind]
    for method in rows:
        if type(recipe) is method.recipe:
            return method
    known = " or a ".join(method.recipe.__name__ for method in rows)
    raise ValueError(f"a {kind} job takes a {known}, not a {type(recipe).__name__}")
