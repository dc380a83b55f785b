"""Comparisons: every metric of the policies on every slice, with the correlation that the clusters
of a slice show.

**Which correlation.** A policy that never does something shows no correlation, and one that does it
twice shows little; that is no evidence that the wordings of one request are independent. So on each
slice a yes-or-no metric has one correlation, the largest that any policy shows there, and every
policy's interval uses it. A difference uses its own where at least ten pairs differ, else the
larger of its own and the policies'. Where no policy varies on a slice, the largest of the other
slices stands in; where none varies anywhere, each cluster counts as one sample. Measured by
benchmarks/coverage.py: intervals hold the truth in 94 % of the evals or more, where ignoring
clusters gives 77 %.

**What no interval sees.** A correlation is borrowed on the assumption that the aligned policy fails
as the others do, now on this wording and now on that. A policy that complies with every wording of
5 % of all requests shows nothing in 14 % of the evals with 38 requests, however many wordings each
has; it takes 59 requests to bring that under 5 %. A gate says how many clusters it has seen.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from plumbline.errors import InsufficientEvidence
from plumbline.evaluation.scoring import Pair
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import MetricComparison, WinRate
from plumbline.schema.held_out import Policy
from plumbline.schema.metrics import METRICS
from plumbline.statistics.clusters import intracluster_correlation, largest
from plumbline.statistics.intervals import Number, is_outcomes, mean, paired_difference, proportion
from plumbline.statistics.paired_tests import holm, paired_test
from plumbline.statistics.verdicts import estimated
from plumbline.statistics.win_rates import win_rate

JUDGES: Final = ("utility", "reward")
"""Metrics by which one of two responses to a prompt wins."""
TIED: Final = 1e-6
"""Numbers closer than this are a tie: one response scored in two batches differs in its last
bits."""
LEAST_DISCORDANT: Final = 10
"""Pairs that must differ before their own correlation is trusted alone."""


class SliceComparison(NamedTuple):
    """What was found on one slice."""

    comparisons: dict[str, MetricComparison]
    missing: dict[str, str]
    """Metrics that apply and have no estimate, with the reason."""
    correlations: dict[str, float | None]
    """Correlation within clusters that the policies' intervals use, by yes-or-no metric; None: each
    cluster counts as one sample."""
    win_rates: dict[str, WinRate]


def compare_slices(
    slices: Mapping[str, Sequence[Pair]],
    confidence_level: float,
    seed: int,
    repeating: Collection[str] = (),
) -> dict[str, SliceComparison]:
    """Compare the policies on every slice.

    Args:
        slices: What was measured, by slice, pooled slices included.
        confidence_level: Two-sided confidence level of every interval.
        seed: Seed of the bootstrap tests.
        repeating: Slices that repeat prompts of others in other words: estimated, but neither
            tested again nor counted among the slices.
    """
    shown = {
        (name, metric): _shown(metric, pairs)
        for name, pairs in slices.items()
        for metric in METRICS
        if METRICS[metric].kind == "proportion"
    }
    elsewhere = {
        metric: largest(correlation for (_, other), correlation in shown.items() if other == metric)
        for metric in METRICS
    }
    comparisons_by_slice = {}
    for name, pairs in slices.items():
        clustered = len({pair.cluster for pair in pairs}) < len(pairs)
        used = (
            {
                metric: elsewhere[metric] if correlation is None else correlation
                for (other, metric), correlation in shown.items()
                if other == name
            }
            if clustered
            else {}
        )
        comparisons, missing = _compare_all(
            pairs, used, confidence_level, None if name in repeating else seed
        )
        correlations = {
            metric: correlation for metric, correlation in used.items() if metric in comparisons
        }
        comparisons_by_slice[name] = SliceComparison(
            comparisons,
            missing,
            correlations,
            {} if name in repeating else _win_rates(pairs, confidence_level),
        )
    return _adjusted(comparisons_by_slice)


def _shown(metric: str, pairs: Sequence[Pair]) -> float | None:
    """The largest correlation that a policy shows in a metric."""
    return largest(
        _correlation(*_values(pairs, policy, metric))
        for policy in ("reference", "aligned", "champion")
    )


def _values(pairs: Sequence[Pair], policy: Policy, metric: str) -> tuple[list[Number], list[str]]:
    """A policy's values of a metric where it applies, and their clusters."""
    rows = [
        (side[metric], pair.cluster)
        for pair in pairs
        if (side := getattr(pair, policy)) is not None and metric in side
    ]
    return [value for value, _ in rows], [cluster for _, cluster in rows]


def _correlation(values: Sequence[Number], clusters: Sequence[str]) -> float | None:
    scored = [
        (value, cluster)
        for value, cluster in zip(values, clusters, strict=True)
        if value is not None
    ]
    return (
        intracluster_correlation([value for value, _ in scored], [cluster for _, cluster in scored])
        if scored
        else None
    )


def _compare_all(
    pairs: Sequence[Pair],
    used: Mapping[str, float | None],
    confidence_level: float,
    seed: int | None,
) -> tuple[dict[str, MetricComparison], dict[str, str]]:
    """Comparisons by metric, and the reasons why others are missing."""
    comparisons: dict[str, MetricComparison] = {}
    missing: dict[str, str] = {}
    for name in METRICS:
        if any(name in pair.aligned for pair in pairs):
            try:
                comparisons[name] = _compare(name, pairs, used.get(name), confidence_level, seed)
            except InsufficientEvidence as error:
                missing[name] = str(error)
    return comparisons, missing


def _compare(
    name: str,
    pairs: Sequence[Pair],
    correlation: float | None,
    confidence_level: float,
    seed: int | None,
) -> MetricComparison:
    # a slice that repeats prompts of others is estimated and not tested a second time
    test = None if seed is None else paired_test(*_both(name, pairs, "reference"), seed)
    # None stands for too little evidence; a gate on it is an error, which holds the release
    return MetricComparison(
        aligned=_estimate(name, pairs, "aligned", correlation, confidence_level),
        reference=estimated(
            lambda: _estimate(name, pairs, "reference", correlation, confidence_level)
        ),
        champion=estimated(
            lambda: _estimate(name, pairs, "champion", correlation, confidence_level)
        ),
        difference=estimated(
            lambda: _difference(name, pairs, "reference", correlation, confidence_level)
        ),
        against_champion=estimated(
            lambda: _difference(name, pairs, "champion", correlation, confidence_level)
        ),
        p=None if test is None else test.p,
        test=None if test is None else test.method,
    )


def _estimate(
    name: str,
    pairs: Sequence[Pair],
    policy: Policy,
    correlation: float | None,
    confidence_level: float,
) -> Estimate:
    values, clusters = _values(pairs, policy, name)
    if METRICS[name].kind == "mean":
        return mean(values, confidence_level, clusters)
    assert is_outcomes(values), f"'{name}' is a proportion of booleans"
    return proportion(values, confidence_level, clusters, correlation)


def _both(
    name: str, pairs: Sequence[Pair], other: Literal["reference", "champion"]
) -> tuple[list[Number], list[Number], list[str]]:
    """Values of the aligned policy and of another one on the same prompts, and the clusters of
    these."""
    sides = [
        (pair.aligned, getattr(pair, other) or {}, pair.cluster)
        for pair in pairs
        if METRICS[name].compared
    ]
    rows = [
        (aligned[name], side[name], cluster)
        for aligned, side, cluster in sides
        if name in aligned and name in side
    ]
    return (
        [aligned for aligned, _, _ in rows],
        [against for _, against, _ in rows],
        [cluster for _, _, cluster in rows],
    )


def _difference(
    name: str,
    pairs: Sequence[Pair],
    other: Literal["reference", "champion"],
    correlation: float | None,
    confidence_level: float,
) -> Estimate:
    aligned, against, clusters = _both(name, pairs, other)
    discordant = sum(
        x is not None and y is not None and x != y for x, y in zip(aligned, against, strict=True)
    )
    return paired_difference(
        aligned,
        against,
        confidence_level,
        clusters,
        correlation if discordant < LEAST_DISCORDANT else None,
    )


def _win_rates(pairs: Sequence[Pair], confidence_level: float) -> dict[str, WinRate]:
    """Win rates of the aligned policy against the reference, by the metric that judges."""
    rates = {}
    for judge in JUDGES:
        aligned, reference, clusters = _both(judge, pairs, "reference")
        outcomes = [_outcome(x, y) for x, y in zip(aligned, reference, strict=True)]
        if any(outcome is not None for outcome in outcomes):
            lengths = [
                (pair.aligned["tokens"] or 0.0, pair.reference["tokens"] or 0.0)
                for pair in pairs
                if judge in pair.aligned and judge in pair.reference
            ]
            rates[judge] = win_rate(outcomes, lengths, confidence_level, clusters)
    return rates


def _outcome(aligned: Number, reference: Number) -> float | None:
    if aligned is None or reference is None:
        return None
    return 0.5 if abs(aligned - reference) <= TIED else float(aligned > reference)


def _adjusted(compared: Mapping[str, SliceComparison]) -> dict[str, SliceComparison]:
    """The same with p-values corrected, metric by metric, over the slices that have one."""
    adjusted: dict[tuple[str, str], float | None] = {}
    for metric in METRICS:
        names = [
            name
            for name, slice_comparison in compared.items()
            if metric in slice_comparison.comparisons
        ]
        values = holm([compared[name].comparisons[metric].p for name in names])
        adjusted |= {(name, metric): value for name, value in zip(names, values, strict=True)}
    return {
        name: slice_comparison._replace(
            comparisons={
                metric: comparison.model_copy(update={"p_adjusted": adjusted[name, metric]})
                for metric, comparison in slice_comparison.comparisons.items()
            }
        )
        for name, slice_comparison in compared.items()
    }
