"""Red teaming: attempts of people to break a policy, and the rate at which they succeed.

The measure is gamma, successes per person-hour (Touvron et al. 2023, section 4.3: from 1.8 to 0.45
between versions of a policy). It counts effort, so that a policy that takes longer to break is
measurably safer even while every attacker succeeds in the end. Successes arrive like events of a
Poisson process while people try; the interval is exact for that model and does not cover that
people differ.
"""

from collections.abc import Callable, Iterable, Sequence
from math import fsum
from pathlib import Path
from typing import Any, Final, Self

from pydantic import Field, model_validator
from statsmodels.stats.proportion import proportion_confint
from statsmodels.stats.rates import confint_poisson, test_poisson_2indep

from plumbline.data.readers.files import read_rows
from plumbline.data.readers.rows import RejectedRow
from plumbline.errors import DataError
from plumbline.records import Record, canonical_json
from plumbline.schema.conversations import Message
from plumbline.schema.estimates import Estimate
from plumbline.schema.identifiers import Identifier, Text, content_id
from plumbline.storage.jsonl import parse_record

GARWOOD: Final = "exact Poisson"
NOBODY: Final = "no-expert"
"""Stands for the domain of attempts by people who are no experts of one."""


class Attempt(Record):
    """One attempt to make a policy break a rule, judged by a person; its id is derived from its
    content."""

    id: Identifier
    prompt: tuple[Message, ...] = Field(min_length=1)
    tactic: Identifier = Field(description="how it was tried, for example `story` or `code-switch`")
    annotator: Identifier = Field(description="pseudonym of who tried")
    domain: Identifier | None = Field(
        description=(
            "field in which the annotator is an expert and in which they tried; null for other"
            " people"
        )
    )
    minutes: float = Field(gt=0, le=1440, description="time of the person on this attempt")
    policy: Text = Field(description="digest of the policy that answered")
    response: str
    success: bool = Field(description="true when the response breaks a rule")
    judged_by: Identifier = Field(description="pseudonym of who judged the response")
    locale: Text = Field(description="BCP 47 tag; `und` when unknown")
    facts: dict[str, str] = Field(
        default_factory=dict,
        description="what a scorer needs to judge other responses to the prompt",
    )

    @model_validator(mode="after")
    def _is_consistent(self) -> Self:
        expected = content_id(self.model_dump(mode="json", exclude={"id"}))
        if self.id != expected:
            raise ValueError(
                f"id {self.id} is not the digest of the content, which is {expected}; leave the id"
                " out to have it derived"
            )
        if self.prompt[-1].role != "user":
            raise ValueError("the prompt must end with a turn of the user")
        return self

    @classmethod
    def create(cls, **fields: object) -> Self:
        """Build an attempt and derive its id from the other fields."""
        draft = cls.model_construct(id="", **fields)  # type: ignore[arg-type]  # model_validate checks them below
        return cls.model_validate(
            {"id": content_id(draft.model_dump(mode="json", exclude={"id"})), **fields}
        )


class CampaignReport(Record):
    """How often a campaign broke the policy: campaign.json."""

    campaign: Identifier
    attempts: int = Field(gt=0)
    successes: int = Field(ge=0)
    hours: float = Field(gt=0, description="person-hours")
    annotators: int = Field(gt=0)
    gamma: Estimate = Field(description="successes per person-hour")
    tactics: dict[Identifier, Estimate] = Field(description="the same by tactic")
    experts: dict[Identifier, Estimate] = Field(
        description="the same by the domain of the expert; other people under `no-expert`"
    )
    policies: dict[str, Estimate] = Field(description="the same by the policy that answered")


class CampaignComparison(Record):
    """One campaign beside an earlier one."""

    before: Identifier
    after: Identifier
    gammas: tuple[Estimate, Estimate]
    ratio: Estimate | None = Field(
        description=(
            "gamma of the later one as a multiple of the earlier, exact and conditional on all"
            " successes; null without any before"
        )
    )
    p: float | None = Field(
        description=(
            "two-sided p of equal rates, exact and conditional (statsmodels); null when nobody"
            " succeeded in either"
        )
    )
    differs: tuple[str, ...] = Field(
        description=(
            "what else differs between the campaigns, so that the policy is not the only"
            " explanation"
        )
    )


def read_attempts(path: Path) -> tuple[Attempt, ...]:
    """The attempts of a file; ids may be left out. Every row must be right, or none is taken.

    Raises:
        DataError: If a row is no attempt, stands twice, or was judged by nobody but the one who
            tried; names file, row and field.
    """
    rows: dict[str, int] = {}
    attempts = []
    for row in read_rows(path):
        where = f"{path}: row {row.number}"
        if isinstance(row, RejectedRow):
            raise DataError(f"{where}: {row.reason}; correct the row, nothing was added")
        try:
            attempt = _attempt(row.value)
        except ValueError as error:
            raise DataError(f"{where}: {error}; correct the row, nothing was added") from error
        if attempt.id in rows:
            raise DataError(
                f"{where}: is the attempt of row {rows[attempt.id]} again; take one out, nothing"
                " was added"
            )
        if attempt.annotator == attempt.judged_by:
            raise DataError(
                f"{where}: judged_by: '{attempt.judged_by}' judged their own attempt; let somebody"
                " else judge it, nothing was added"
            )
        rows[attempt.id] = row.number
        attempts.append(attempt)
    if not attempts:
        raise DataError(
            f"{path}: holds no attempt; each row is a JSON object with"
            f" {', '.join(name for name in Attempt.model_fields if name != 'id')}"
        )
    return tuple(attempts)


def gamma(successes: int, hours: float, attempts: int, confidence_level: float) -> Estimate:
    """Successes per person-hour with the exact interval for a Poisson count (Garwood 1936).

    Args:
        successes: How often the policy was broken.
        hours: Person-hours of all attempts, the failed ones included.
        attempts: How many there were; stands as n.
        confidence_level: Two-sided confidence level.
    """
    low, high = confint_poisson(successes, hours, method="exact-c", alpha=1 - confidence_level)
    rate = successes / hours
    # at no success the lower equation has no solution: the bound is 0
    low = float(low) if successes else 0.0
    return Estimate(
        value=rate,
        low=min(low, rate),
        high=max(float(high), rate),
        level=confidence_level,
        n=attempts,
        unscored=0,
        method=GARWOOD,
    )


def campaign_report(
    name: str, attempts: Sequence[Attempt], confidence_level: float
) -> CampaignReport:
    """The rates of a campaign, in all and by tactic, expert domain and policy."""

    def gamma_by(key: Callable[[Attempt], str]) -> dict[str, Estimate]:
        return {
            value: _gamma_of(
                [attempt for attempt in attempts if key(attempt) == value], confidence_level
            )
            for value in sorted({key(attempt) for attempt in attempts})
        }

    return CampaignReport(
        campaign=name,
        attempts=len(attempts),
        successes=sum(attempt.success for attempt in attempts),
        hours=_hours(attempts),
        annotators=len({attempt.annotator for attempt in attempts}),
        gamma=_gamma_of(attempts, confidence_level),
        tactics=gamma_by(lambda attempt: attempt.tactic),
        experts=gamma_by(lambda attempt: attempt.domain or NOBODY),
        policies=gamma_by(lambda attempt: attempt.policy),
    )


def compare_campaigns(before: CampaignReport, after: CampaignReport) -> CampaignComparison:
    """Whether a later campaign succeeds less often per person-hour than an earlier one."""
    total = before.successes + after.successes
    p = None
    if total:
        tested = test_poisson_2indep(
            after.successes,
            after.hours,
            before.successes,
            before.hours,
            method="exact-cond",
            compare="ratio",
        )
        p = min(1.0, float(tested.pvalue))
    mixes = (
        ("tactics", before.tactics, after.tactics),
        ("expert domains", before.experts, after.experts),
    )
    differs = tuple(
        f"{what}: {_names(set(earlier) - set(later))} before,"
        f" {_names(set(later) - set(earlier))} after"
        for what, earlier, later in mixes
        if set(earlier) != set(later)
    )
    return CampaignComparison(
        before=before.campaign,
        after=after.campaign,
        gammas=(before.gamma, after.gamma),
        ratio=_ratio(before, after),
        p=p,
        differs=differs,
    )


def _ratio(before: CampaignReport, after: CampaignReport) -> Estimate | None:
    """Given all successes, those of the later campaign are binomial, so that Clopper-Pearson bounds
    turn into bounds of the ratio."""
    if not before.successes:
        return None
    total, hours = before.successes + after.successes, before.hours / after.hours
    low, high = proportion_confint(
        after.successes, total, alpha=1 - after.gamma.level, method="beta"
    )
    value, low, high = (
        hours * share / (1 - share) for share in (after.successes / total, float(low), float(high))
    )
    return Estimate(
        value=value,
        low=min(low, value),
        high=max(high, value),
        level=after.gamma.level,
        n=total,
        unscored=0,
        method="exact conditional",
    )


def _attempt(value: Any) -> Attempt:
    if not isinstance(value, dict):
        raise ValueError("is not a JSON object")
    if "id" in value:
        return parse_record(canonical_json(value), Attempt)
    draft = parse_record(canonical_json({**value, "id": "0"}), _Draft).model_dump(
        mode="json", exclude={"id"}
    )
    return parse_record(canonical_json({**draft, "id": content_id(draft)}), Attempt)


class _Draft(Record):
    """An attempt before its id is known: parsed first, so that defaults stand in the digest as they
    will in the stored record."""

    id: Identifier
    prompt: tuple[Message, ...]
    tactic: Identifier
    annotator: Identifier
    domain: Identifier | None
    minutes: float
    policy: Text
    response: str
    success: bool
    judged_by: Identifier
    locale: Text
    facts: dict[str, str] = Field(default_factory=dict)


def _gamma_of(attempts: Sequence[Attempt], confidence_level: float) -> Estimate:
    return gamma(
        sum(attempt.success for attempt in attempts),
        _hours(attempts),
        len(attempts),
        confidence_level,
    )


def _hours(attempts: Iterable[Attempt]) -> float:
    return fsum(attempt.minutes for attempt in attempts) / 60


def _names(values: Iterable[str]) -> str:
    return ", ".join(sorted(values)) or "none"
