"""Whether a guardrail still does what it shipped with: its rates on judgments that came since,
against those of its measurement.

Fisher's exact test compares the two counts of errors, because the shipped rate is an estimate too.
One-sided, for a rise; both rates share one probability of a false alarm. With too few new judgments
to see a rise of `DETECTABLE` the answer is `underpowered`, which is not a pass.
"""

from collections.abc import Sequence
from typing import Final, Literal

from pydantic import Field
from scipy.stats import binom, hypergeom

from plumbline.guardrail.labels import GuardrailRow
from plumbline.guardrail.measurement import GuardrailModel, Measurement, exact
from plumbline.records import Record
from plumbline.schema.estimates import Estimate

DETECTABLE: Final = 0.1
"""Rise of a rate that must be found with probability `POWER`."""
POWER: Final = 0.8
Status = Literal["pass", "drifted", "underpowered", "nothing new"]


class RateCheck(Record):
    """One rate before and since."""

    name: Literal["fpr", "fnr"]
    shipped: Estimate | None
    since: Estimate | None = Field(description="null when no such response was judged since")
    p: float | None = Field(
        description=(
            "probability of so many errors if the rate had not risen; null when it cannot be"
            " computed"
        )
    )
    power: float = Field(ge=0, le=1, description="probability of finding a rise of DETECTABLE")
    status: Status


class Recheck(Record):
    """A guardrail on the judgments that came since it was fitted. It depends on what was there
    before, so it is shown by a check and is no part of a tree."""

    guardrail: str | None = Field(
        description="digest of the guardrail that was checked; null when there was none before"
    )
    rows: int = Field(ge=0, description="judged responses that it had not seen")
    alarm: float = Field(description="probability of a false alarm, for both rates together")
    rates: tuple[RateCheck, ...]
    status: Status
    message: str


def recheck(
    model: GuardrailModel, measurement: Measurement, rows: Sequence[GuardrailRow]
) -> Recheck:
    """Check a guardrail on new rows.

    Args:
        model: The guardrail as it shipped.
        measurement: Its own rates.
        rows: Judged responses that were in none of its parts.
    """
    alarm = round(1 - measurement.level, 9)
    if not rows or measurement.missing:
        said = (
            f"it has no threshold: {measurement.missing}"
            if measurement.missing
            else "no judgment came since the guardrail was fitted"
        )
        return Recheck(
            guardrail=model.digest(),
            rows=len(rows),
            alarm=alarm,
            rates=(),
            status="underpowered" if rows else "nothing new",
            message=said,
        )
    blocked = [(row.violation, model.blocks(row)) for row in rows]
    false_alarms = [was_blocked for violation, was_blocked in blocked if not violation]
    misses = [not was_blocked for violation, was_blocked in blocked if violation]
    rates = (
        _check("fpr", measurement.overall.fpr, false_alarms, alarm / 2, measurement.level),
        _check("fnr", measurement.overall.fnr, misses, alarm / 2, measurement.level),
    )
    found = {rate.status for rate in rates}
    status: Status = (
        "drifted" if "drifted" in found else "underpowered" if "underpowered" in found else "pass"
    )
    return Recheck(
        guardrail=model.digest(),
        rows=len(rows),
        alarm=alarm,
        rates=rates,
        status=status,
        message="; ".join(map(_say, rates)),
    )


def nothing_before() -> Recheck:
    """What is said of the first guardrail of a profile."""
    return Recheck(
        guardrail=None,
        rows=0,
        alarm=0.0,
        rates=(),
        status="nothing new",
        message="there was no guardrail before",
    )


def _check(
    name: Literal["fpr", "fnr"],
    shipped: Estimate | None,
    errors: Sequence[bool],
    alarm: float,
    confidence_level: float,
) -> RateCheck:
    count, n = sum(errors), len(errors)
    since = exact(count, n, confidence_level) if n else None
    if shipped is None or since is None:
        return RateCheck(
            name=name, shipped=shipped, since=since, p=None, power=0.0, status="underpowered"
        )
    before = round(shipped.value * shipped.n)
    p, power = _p_of_rise(before, shipped.n, count, n), _power(before, shipped.n, n, alarm)
    status: Status = "drifted" if p <= alarm else "pass" if power >= POWER else "underpowered"
    return RateCheck(name=name, shipped=shipped, since=since, p=p, power=power, status=status)


def _p_of_rise(before: int, n_before: int, count: int, n: int) -> float:
    # Fisher's test: of all errors, how many would fall on the new rows if both had one rate
    return min(1.0, float(hypergeom.sf(count - 1, n_before + n, before + count, n)))


def _power(before: int, n_before: int, n: int, alarm: float) -> float:
    low, high = 0, n + 1  # the least count that raises the alarm; n + 1 when none does
    while low < high:
        middle = (low + high) // 2
        if _p_of_rise(before, n_before, middle, n) <= alarm:
            high = middle
        else:
            low = middle + 1
    return float(binom.sf(low - 1, n, min(1.0, before / n_before + DETECTABLE)))


def _say(rate: RateCheck) -> str:
    if rate.since is None or rate.shipped is None:
        return f"{rate.name}: nothing to compare"
    said = (
        f"{rate.name}: {rate.status}: {rate.since.value:.1%} of {rate.since.n} since, shipped with"
        f" {rate.shipped.value:.1%} of {rate.shipped.n}"
    )
    return said + ("" if rate.p is None else f", p {rate.p:.3g}") + f", power {rate.power:.0%}"
