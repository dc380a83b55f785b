"""The written policy: what is optimized, what is forbidden, and which evidence proves a change."""

from collections.abc import Collection
from pathlib import Path
from typing import Annotated, Literal, Self

from pydantic import BeforeValidator, Field, model_validator

from plumbline.errors import ConfigError
from plumbline.records import Record
from plumbline.schema.feedback import Dimension
from plumbline.schema.identifiers import Identifier, Text
from plumbline.strict_yaml import load_record


class Clause(Record):
    """One rule of the policy, from plain language to the metric that would show a regression."""

    id: Identifier
    name: Text = Field(description="the rule in plain language")
    variable: Text = Field(description="the mathematical quantity that stands for it")
    estimated_from: Text = Field(description="the data that estimate the variable")
    enforced_by: Text = Field(description="the loss or the runtime rule that acts on it")
    regression_metric: Identifier = Field(
        description="the metric of the eval report that would prove the change became worse"
    )


class ActionConfig(Record):
    """One row of the table of actions: when an agent may call a tool, and when not. What no row
    allows is denied."""

    id: Identifier
    tool: Identifier = Field(description="the tool, for example `send_email`")
    condition: Text = Field(description="when the row holds, in plain words")
    verdict: Literal["allow", "deny"]
    clause: Identifier = Field(description="the clause of the rubric that the row follows from")


class RiskCategory(Record):
    """One category of the risk taxonomy, with the behaviour that is expected in it."""

    id: Identifier
    name: Text
    expected_behaviour: tuple[Text, ...] = Field(
        min_length=1, description="what a good response does, in order"
    )


class RubricApproval(Record):
    """Who approved this version, and why."""

    approved_by: Text
    date: Text
    reason: Text


class Margins(Record):
    """Reward margin for each strength of preference, in reward units; see `LLAMA2_SMALL` and
    `LLAMA2_LARGE` for the published tables."""

    negligible: float = Field(ge=0)
    slightly: float = Field(ge=0)
    better: float = Field(ge=0)
    significantly: float = Field(ge=0)

    @model_validator(mode="after")
    def _rises(self) -> Self:
        table = self.table()
        if list(table) != sorted(table):
            raise ValueError(f"margins must not fall as the strength rises: {table}")
        return self

    def table(self) -> tuple[float, float, float, float]:
        """Margins indexed by strength 0 to 3."""
        return (self.negligible, self.slightly, self.better, self.significantly)


LLAMA2_SMALL = Margins(negligible=0.0, slightly=1 / 3, better=2 / 3, significantly=1.0)
"""The small margins of Touvron et al. 2023 (Llama 2), table 27."""
LLAMA2_LARGE = Margins(negligible=0.0, slightly=1.0, better=2.0, significantly=3.0)
"""The large margins of the same table."""
MARGIN_PRESETS = {"llama2-small": LLAMA2_SMALL, "llama2-large": LLAMA2_LARGE}


def _margins_of_preset(value: object) -> object:
    if not isinstance(value, str):
        return value
    if value not in MARGIN_PRESETS:
        raise ValueError(
            f"there is no table of margins called '{value}'; use {', '.join(MARGIN_PRESETS)}, or"
            " give the four numbers"
        )
    return MARGIN_PRESETS[value]


class Rubric(Record):
    """A versioned policy; invalid without optimized behaviour, forbidden behaviour and evidence."""

    name: Identifier
    version: int = Field(gt=0)
    owner: Text
    approval: RubricApproval
    optimized: tuple[Text, ...] = Field(min_length=1, description="behaviour that training raises")
    forbidden: tuple[Text, ...] = Field(min_length=1, description="behaviour that must not occur")
    evidence: tuple[Text, ...] = Field(
        min_length=1, description="measurements that prove the system changed"
    )
    clauses: tuple[Clause, ...] = Field(min_length=1)
    taxonomy: tuple[RiskCategory, ...] = Field(min_length=1)
    priorities: tuple[Identifier, ...] = Field(
        min_length=1, description="clause ids, the strongest first"
    )
    margins: Annotated[Margins, BeforeValidator(_margins_of_preset)] = Field(
        description="the four numbers, or `llama2-small` or `llama2-large`"
    )
    consent: tuple[Text, ...] = Field(
        min_length=1, description="consent versions that admit an event to training"
    )
    pii: Literal["flag", "redact", "quarantine"] = Field(
        default="flag", description="what becomes of events in which personal data were found"
    )
    dimensions: tuple[Dimension, ...] = Field(
        default=("safe", "helpful", "correct"),
        min_length=1,
        description="what annotators rate one by one",
    )
    accepts: tuple[Text, ...] = Field(
        default=(),
        description=(
            "labels of earlier versions whose judgments still count, for example"
            " `helpful-harmless@1`; the newest judgments of a pair decide"
        ),
    )

    actions: tuple[ActionConfig, ...] = Field(
        default=(),
        description=(
            "what an agent may do with its tools; a rubric for a policy without tools has none"
        ),
    )

    @property
    def label(self) -> str:
        """`name@version`, the form that events cite."""
        return f"{self.name}@{self.version}"

    def clause(self, id: str) -> Clause:
        """One clause by its id.

        Raises:
            ConfigError: If the rubric has no such clause; names those it has, the strongest first.
        """
        for clause in self.clauses:
            if clause.id == id:
                return clause
        raise ConfigError(
            f"rubric {self.label} has no clause '{id}'; its clauses are:"
            f" {', '.join(self.priorities)}"
        )

    def prefer(
        self, first_violations: Collection[str], second_violations: Collection[str]
    ) -> Literal[0, 1] | None:
        """Which of two responses the order of the clauses prefers, as in Asimov's laws: the
        strongest clause that only one of them breaks decides.

        However many weaker clauses the other response breaks, they do not outweigh it.

        Args:
            first_violations: Ids of the clauses that the first response breaks.
            second_violations: The same for the second.

        Returns:
            0 or 1, the index of the better response; None when both break the same clauses.

        Raises:
            ConfigError: If an id is not a clause of this rubric.
        """
        for id in {*first_violations, *second_violations}:
            self.clause(id)
        for id in self.priorities:
            if (id in first_violations) != (id in second_violations):
                return 1 if id in first_violations else 0
        return None

    @model_validator(mode="after")
    def _priorities_rank_the_clauses(self) -> Self:
        ids = [clause.id for clause in self.clauses]
        if len(set(ids)) != len(ids):
            raise ValueError(
                f"clause ids repeat: {sorted(i for i in set(ids) if ids.count(i) > 1)}"
            )
        if sorted(self.priorities) != sorted(ids):
            raise ValueError(
                f"priorities {list(self.priorities)} must name every clause once: {sorted(ids)}"
            )
        return self

    @model_validator(mode="after")
    def _actions_follow_from_clauses(self) -> Self:
        ids = [action.id for action in self.actions]
        if len(set(ids)) != len(ids):
            raise ValueError(
                f"action ids repeat: {sorted(i for i in set(ids) if ids.count(i) > 1)}"
            )
        strangers = sorted({action.clause for action in self.actions} - set(self.priorities))
        if strangers:
            raise ValueError(
                f"actions name clauses that the rubric does not have: {', '.join(strangers)}"
            )
        conditions = [(action.tool, action.condition) for action in self.actions]
        if len(set(conditions)) != len(conditions):
            raise ValueError("actions name one tool and condition twice; one row must decide")
        return self

    @model_validator(mode="after")
    def _accepts_earlier_versions(self) -> Self:
        for label in self.accepts:
            name, _, version = label.rpartition("@")
            if (
                not name
                or not version.isdecimal()
                or (name == self.name and int(version) >= self.version)
            ):
                raise ValueError(
                    f"accepts names '{label}': it must be an earlier version, `name@version`, and"
                    f" {self.label} accepts itself always"
                )
        for field in ("accepts", "dimensions", "consent"):
            values = getattr(self, field)
            if len(set(values)) != len(values):
                raise ValueError(f"{field} repeats an entry: {list(values)}")
        return self


def load_rubric(path: Path) -> Rubric:
    """Read and validate a rubric file.

    Raises:
        ConfigError: If the file is not strict YAML or breaks the schema; names file, line and
            field.
    """
    return load_record(path, Rubric)
