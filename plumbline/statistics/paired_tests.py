"""Tests of "the two policies are alike" on pairs, and their correction for the number of slices.

========  ============================  =========================================================
of        method                        why
========  ============================  =========================================================
outcomes  McNemar's mid-p               exact, without the conservatism of the exact test
                                        (Fagerland, Lydersen and Laake 2013)
outcomes  the same over clusters        turns whole clusters round: with clusters of one pair it
                                        is McNemar's test
numbers   percentile bootstrap (scipy)  resamples pairs, or whole clusters; draws from a recorded
                                        seed
========  ============================  =========================================================

A p-value here tells a reader where two policies differ; no gate looks at one. Holm's correction
(1979) keeps the probability of a single false "differs" among all slices of a metric at the level,
whatever the dependence between slices, so pooled slices may stand beside theirs. The bootstrap
needs some twenty clusters before its p-values can be trusted; below, they are too small.
"""

from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.stats import binom, bootstrap
from statsmodels.stats.contingency_tables import mcnemar

from plumbline.statistics.clusters import cluster_sums
from plumbline.statistics.intervals import Number, Outcome

RESAMPLES: Final = 1999
"""Resamples of the bootstrap: its smallest p-value is 2 / (RESAMPLES + 1)."""
MCNEMAR: Final = "McNemar mid-p"
CLUSTERED_MCNEMAR: Final = "McNemar mid-p over clusters"
BOOTSTRAP: Final = "paired bootstrap"
CLUSTERED_BOOTSTRAP: Final = "paired bootstrap over clusters"


class PairedTest(NamedTuple):
    """A two-sided p-value and how it was found."""

    p: float
    method: str


def paired_test(
    a: Sequence[Outcome] | Sequence[Number],
    b: Sequence[Outcome] | Sequence[Number],
    clusters: Sequence[str] | None,
    seed: int,
) -> PairedTest | None:
    """Test that neither side has more, on the pairs that were scored on both.

    Args:
        a: Outcomes or numbers, one for each pair.
        b: The same for the other side, in the same order.
        clusters: Name of the cluster of each pair; None when every pair stands alone.
        seed: Seed of the bootstrap.

    Returns:
        None where there is nothing to test: fewer than two clusters, or numbers whose differences
            do not vary.
    """
    names = [str(position) for position in range(len(a))] if clusters is None else clusters
    scored = [
        (x, y, name)
        for x, y, name in zip(a, b, names, strict=True)
        if x is not None and y is not None
    ]
    differences, members = [float(x - y) for x, y, _ in scored], [name for _, _, name in scored]
    count = len(set(members))
    if count < 2:
        return None
    alone = count == len(members)
    if all(isinstance(side, bool) for x, y, _ in scored for side in (x, y)):
        if alone:
            return PairedTest(
                mcnemar_mid_p(differences.count(1.0), differences.count(-1.0)), MCNEMAR
            )
        return PairedTest(clustered_mid_p(differences, members), CLUSTERED_MCNEMAR)
    if len(set(differences)) < 2:
        return None
    return PairedTest(
        bootstrap_p(differences, members, seed), BOOTSTRAP if alone else CLUSTERED_BOOTSTRAP
    )


def mcnemar_exact(only_a: int, only_b: int) -> float:
    """Two-sided p-value of McNemar's exact conditional test (statsmodels)."""
    return float(mcnemar([[0, only_a], [only_b, 0]], exact=True).pvalue)


def mcnemar_mid_p(only_a: int, only_b: int) -> float:
    """Two-sided mid-p-value of McNemar's test: the exact one less the probability of what was seen.

    Source: Fagerland, Lydersen and Laake 2013, BMC Medical Research Methodology 13:91, equation 4.
    Without a discordant pair that would be 1/2; it is 1 here, since nothing speaks against the
    policies being alike.
    """
    if only_a == only_b == 0:
        return 1.0
    seen = float(binom.pmf(min(only_a, only_b), only_a + only_b, 0.5))
    # where both are equal the exact value is cut to 1 and its two tails share the middle
    return 1 - seen / 2 if only_a == only_b else mcnemar_exact(only_a, only_b) - seen


def clustered_mid_p(differences: Sequence[float], clusters: Sequence[str]) -> float:
    """Mid-p-value of the test that turns each cluster's differences round with probability 1/2,
    over all 2^K ways.

    Under the hypothesis that both policies behave alike on what a cluster is about, its sum of
    differences is as likely to be -s as s. The distribution of the total is exact: one convolution
    for each cluster.

    Args:
        differences: -1, 0 or 1 for each pair.
        clusters: Name of the cluster of each pair.
    """
    sums, _ = cluster_sums(differences, clusters)
    sizes = [round(abs(total)) for total in sums if total]
    if not sizes:
        return 1.0
    span, seen = sum(sizes), abs(round(float(sums.sum())))
    chance: NDArray[np.float64] = np.ones(1)
    for size in sizes:
        step = np.zeros(size + 1)
        step[[0, size]] = 0.5
        chance = np.convolve(chance, step)
    totals = np.abs(2 * np.arange(span + 1) - span)
    return min(float(chance[totals > seen].sum() + chance[totals == seen].sum() / 2), 1.0)


def bootstrap_p(differences: Sequence[float], clusters: Sequence[str], seed: int) -> float:
    """Two-sided p-value of a mean of zero: twice the smaller share of resampled means on either
    side of zero (Efron and Tibshirani 1993, ch. 15).

    Whole clusters are resampled, since the pairs of one cluster are not independent. One is added
    to both counts, so that it is never 0.
    """
    sums, sizes = cluster_sums(differences, clusters)
    result = bootstrap(
        (sums, sizes),
        _ratio,
        paired=True,
        vectorized=True,
        n_resamples=RESAMPLES,
        batch=max(1, 1_000_000 // len(sums)),
        method="percentile",
        rng=seed,
    ).bootstrap_distribution
    # a mean that rounds to zero is zero: the last bits differ between processors
    zero = 1e-12 * max(abs(difference) for difference in differences)
    tail = min(int((result <= zero).sum()), int((result >= -zero).sum()))
    return min(2 * (tail + 1) / (RESAMPLES + 1), 1.0)


def holm(p_values: Sequence[float | None]) -> list[float | None]:
    """The p-values corrected for their number by Holm's step-down method (1979); None stays None
    and does not count.

    Written out because `multipletests` of statsmodels, with which it agrees, collects garbage at
    every call: seconds in a large report.
    """
    tested = sorted((p, position) for position, p in enumerate(p_values) if p is not None)
    adjusted: list[float | None] = [None] * len(p_values)
    largest = 0.0
    for rank, (p, position) in enumerate(tested):
        largest = max(largest, min(1.0, p * (len(tested) - rank)))
        adjusted[position] = largest
    return adjusted


def _ratio(sums: NDArray[np.float64], sizes: NDArray[np.float64], axis: int) -> NDArray[np.float64]:
    total: NDArray[np.float64] = sums.sum(axis=axis) / sizes.sum(axis=axis)
    return total
