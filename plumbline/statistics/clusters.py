"""Clusters: samples that are about one thing and therefore say less than as many samples about
different things.

Several wordings of one request are answered alike. With a correlation r between samples of one
cluster, n samples carry as much as n / deff independent ones, where deff = 1 + (m - 1) r and m is
the mean cluster size as a sample sees it, the sum of the squared sizes over n (Kish 1965; exact
when every cluster has the same r). Cluster sizes and r come from the samples; r is the ANOVA
estimator.
"""

from collections import Counter
from collections.abc import Iterable, Sequence

import numpy as np
from numpy.typing import NDArray
from scipy.special import stdtrit

from plumbline.schema.held_out import EvalPrompt

Floats = NDArray[np.float64]


def cluster_of(prompt: EvalPrompt, fact: str | None) -> str:
    """Name of what a prompt is about: the named fact, else the prompt that it is a variant of, else
    the prompt itself.

    Args:
        prompt: A held-out prompt.
        fact: Fact that names what a prompt is about; None where a profile names none.
    """
    named = None if fact is None else prompt.facts.get(fact)
    # the kind of name is part of it, so that a fact cannot meet the id of another prompt
    return (
        f"prompt:{prompt.facts.get('variant_of', prompt.id)}"
        if named is None
        else f"{fact}:{named}"
    )


def cluster_sums(values: Sequence[float], clusters: Sequence[str]) -> tuple[Floats, Floats]:
    """Sum of the values and number of values in each cluster, in the order in which the clusters
    first come."""
    if len(values) != len(clusters):
        raise ValueError(
            f"{len(values)} values need as many names of clusters, not {len(clusters)}"
        )
    numbers: dict[str, int] = {}
    codes = [numbers.setdefault(name, len(numbers)) for name in clusters]
    return np.bincount(codes, weights=np.asarray(values, dtype=float)).astype(
        np.float64
    ), np.bincount(codes).astype(np.float64)


def intracluster_correlation(values: Sequence[float], clusters: Sequence[str]) -> float | None:
    """Correlation of two values of one cluster, 0 to 1: the one-way ANOVA estimator, never below
    zero.

    Source: Donner 1986, International Statistical Review 54:67, section 2; for yes and no, Ridout,
    Demetrio and Firth 1999, Biometrics 55:137.

    Returns:
        The estimate, or None where there is none: the values do not vary, there is one cluster, or
            every cluster has one value.
    """
    sums, sizes = cluster_sums(values, clusters)
    n, k = len(values), len(sizes)
    if k < 2 or k == n or len(set(values)) < 2:
        return None
    numbers = np.asarray(values, dtype=float)
    means = sums / sizes
    between = float(sizes @ (means - numbers.mean()) ** 2)
    within = max(float(((numbers - numbers.mean()) ** 2).sum()) - between, 0.0)
    size = (n - float(sizes @ sizes) / n) / (k - 1)
    mean_between, mean_within = between / (k - 1), within / (n - k)
    return min(
        max((mean_between - mean_within) / (mean_between + (size - 1) * mean_within), 0.0), 1.0
    )


def largest(correlations: Iterable[float | None]) -> float | None:
    """The largest of those that exist; None when none does."""
    return max(
        (correlation for correlation in correlations if correlation is not None), default=None
    )


def effective_n(
    clusters: Sequence[str], correlation: float | None, confidence_level: float
) -> float:
    """Independent samples that say as much as these, for the interval of a proportion.

    n / deff times (t of n - 1 over t of K - 1 degrees of freedom) squared, because the correlation
    of K clusters is itself an estimate (Korn and Graubard 1998, Survey Methodology 24:193). Without
    any correlation to go by, each cluster counts as one sample.

    Args:
        clusters: Name of the cluster of each sample.
        correlation: Intracluster correlation; None when nothing is known of it.
        confidence_level: Two-sided confidence level of the interval.
    """
    sizes = Counter(clusters).values()
    n, seen = len(clusters), sum(size * size for size in sizes) / len(clusters)
    if seen == 1:
        return float(n)
    if correlation is None or len(sizes) == 1:
        return n / seen
    quantile = (1 + confidence_level) / 2
    certainty = (float(stdtrit(n - 1, quantile)) / float(stdtrit(len(sizes) - 1, quantile))) ** 2
    return n / (1 + (seen - 1) * correlation) * certainty
