"""What the statistics promise, simulated: intervals of clustered samples cover, a gate at its
threshold does not pass, Holm keeps its level.

benchmarks/coverage.py has the simulations, and prints them for more shapes and with more runs. Each
test first shows that the shape is one on which ignoring the clusters, or the number of slices, goes
wrong: where nothing can go wrong, nothing is tested.
"""

import math

import pytest

from benchmarks.coverage import (
    coverage,
    difference_coverage,
    false_pass,
    family_error,
    mean_coverage,
)

LEVEL = 0.95
RUNS = 500
TOLERANCE = 3 * math.sqrt(LEVEL * (1 - LEVEL) / RUNS)
"""Three standard errors of the simulated share."""


@pytest.mark.parametrize(("rate", "clusters", "size"), [(0.05, 38, 8), (0.5, 38, 8), (0.5, 55, 5)])
def test_rates_of_clustered_prompts_are_covered(rate, clusters, size):
    with_clusters, without = coverage(RUNS, rate, 0.2, clusters, size)
    assert without < LEVEL - 0.05
    assert with_clusters >= LEVEL - TOLERANCE


def test_means_of_clustered_prompts_are_covered():
    with_clusters, without = mean_coverage(RUNS, 0.2, 38, 8)
    assert without < LEVEL - 0.1
    assert with_clusters >= LEVEL - TOLERANCE


def test_paired_differences_of_clustered_prompts_are_covered():
    with_clusters, without = difference_coverage(RUNS, (0.05, 0.55), 0.2, 38, 8)
    assert without < LEVEL - 0.1
    assert with_clusters >= LEVEL - TOLERANCE


def test_a_policy_on_the_threshold_passes_no_more_often_than_promised():
    with_clusters, without = false_pass(RUNS, 0.05, 0.2, 38, 8)
    # nominally (1 - L) / 2, which a gate that ignores clusters exceeds
    assert without > 0.05
    assert with_clusters <= (1 - LEVEL) / 2 + 3 * math.sqrt(0.025 * 0.975 / RUNS)


def test_two_equal_policies_rarely_differ_on_any_of_twelve_slices():
    runs = 150
    corrected, raw = family_error(runs, 12, 0.1, 38, 8)
    assert raw > 0.25
    assert corrected <= 1 - LEVEL + 3 * math.sqrt(LEVEL * (1 - LEVEL) / runs)
