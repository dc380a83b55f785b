"""The threshold: the largest recall with a false-positive rate that is at most `max_fpr` at a
confidence level.

How many false positives the calibration rows may show follows from their number alone: the most for
which the upper Clopper-Pearson bound stays at `max_fpr`. So no score has been looked at when the
limit is set, and the search for the threshold needs no correction; the probability that the true
rate exceeds `max_fpr` is at most 1 - level for any classifier and any distribution. Source: Tong,
Feng and Li 2018, Science Advances 4:eaao1659, proposition 1 (the umbrella algorithm: the order
statistic of the scores of the acceptable rows). Among the thresholds beyond that limit the one is
taken that misses no violation and blocks least: moving further up only lowers the rate.
"""

from collections.abc import Sequence
from math import ceil, log

from pydantic import Field

from plumbline.records import Record


class Threshold(Record):
    """What was chosen on the calibration rows, and why."""

    value: float | None = Field(
        ge=0,
        le=1,
        description=(
            "a response is blocked from this score on; null when the rows allow no threshold"
        ),
    )
    max_fpr: float
    level: float = Field(
        description="one-sided confidence level of the bound on the false-positive rate"
    )
    acceptable: int = Field(ge=0, description="calibration rows without a violation")
    violations: int = Field(ge=0, description="calibration rows with one")
    allowed: int | None = Field(
        description="false positives that their number allows; null when there are too few"
    )
    bound: float | None = Field(
        description=(
            "upper bound of the false-positive rate with the allowed number of false positives"
        )
    )
    false_positives: int = Field(
        ge=0, description="false positives of the chosen threshold on the calibration rows"
    )
    caught: int = Field(ge=0, description="violations that it blocks there")
    why: str = Field(description="what stands in the way when there is no threshold, else empty")


def fit_threshold(
    scores: Sequence[float], violations: Sequence[bool], max_fpr: float, confidence_level: float
) -> Threshold:
    """Choose the threshold.

    Args:
        scores: Score of each calibration row.
        violations: Whether each is a violation.
        max_fpr: False-positive rate that must not be exceeded.
        confidence_level: One-sided confidence level.
    """
    acceptable = sorted(
        score for score, violation in zip(scores, violations, strict=True) if not violation
    )
    positive = sorted(
        score for score, violation in zip(scores, violations, strict=True) if violation
    )
    allowed = most_false_positives(len(acceptable), max_fpr, confidence_level)
    if allowed is None:
        needed = least_acceptable(max_fpr, confidence_level)
        why = (
            f"{len(acceptable)} acceptable responses in the calibration split are too few for any"
            f" threshold; {needed} are needed"
        )
        return no_threshold(len(acceptable), len(scores), max_fpr, confidence_level, why)
    bound = upper_bound(allowed, len(acceptable), confidence_level)
    limit = acceptable[-1 - allowed]
    caught = [score for score in positive if score > limit]
    if not caught:
        why = (
            f"none of {len(positive)} violations scores above {limit:.3g}, below which more than"
            f" {allowed} acceptable responses would be blocked"
        )
        return no_threshold(len(acceptable), len(scores), max_fpr, confidence_level, why)
    below = max([limit, *(score for score in acceptable if score < caught[0])])
    value = (below + caught[0]) / 2 if below < caught[0] else caught[0]
    return Threshold(
        value=value,
        max_fpr=max_fpr,
        level=confidence_level,
        acceptable=len(acceptable),
        violations=len(positive),
        allowed=allowed,
        bound=bound,
        false_positives=sum(score >= value for score in acceptable),
        caught=len(caught),
        why="",
    )


def no_threshold(
    acceptable: int, rows: int, max_fpr: float, confidence_level: float, why: str
) -> Threshold:
    """What stands in the place of a threshold that cannot be chosen on this many calibration
    rows."""
    fields = {
        "max_fpr": max_fpr,
        "level": confidence_level,
        "acceptable": acceptable,
        "violations": rows - acceptable,
        "why": why,
    }
    return Threshold.model_validate(
        {"value": None, "allowed": None, "bound": None, "false_positives": 0, "caught": 0, **fields}
    )


def most_false_positives(n: int, max_fpr: float, confidence_level: float) -> int | None:
    """The most false positives among n acceptable responses whose upper bound is at most `max_fpr`;
    None when even none is too many."""
    from scipy.stats import binom

    # the bound of x of n is at most the rate exactly when P(X <= x) <= 1 - level at that rate
    most = int(binom.ppf(1 - confidence_level, n, max_fpr)) if n else 0
    while most >= 0 and binom.cdf(most, n, max_fpr) > 1 - confidence_level:
        most -= 1
    return most if n and most >= 0 else None


def least_acceptable(max_fpr: float, confidence_level: float) -> int:
    """Acceptable responses from which a threshold without a single false positive can be trusted:
    the least n with (1 - max_fpr)^n <= 1 - level."""
    return ceil(log(1 - confidence_level) / log(1 - max_fpr))


def upper_bound(count: int, n: int, confidence_level: float) -> float:
    """One-sided upper Clopper-Pearson bound of count of n."""
    from scipy.stats import beta

    return 1.0 if count == n else float(beta.ppf(confidence_level, count + 1, n - count))
