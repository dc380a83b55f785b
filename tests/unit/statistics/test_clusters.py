"""Clusters: the correlation of published ratings, hand-derived effective sample sizes, and
intervals that statsmodels gives as well."""

import random

import numpy as np
import pytest
import statsmodels.api as sm

from plumbline.errors import InsufficientEvidence
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.statistics.clusters import (
    cluster_of,
    cluster_sums,
    effective_n,
    intracluster_correlation,
    largest,
)
from plumbline.statistics.intervals import (
    mean,
    paired_difference,
    proportion,
    required_n,
    tango_interval,
)

SHROUT_FLEISS = [
    (9, 2, 5, 8),
    (6, 1, 3, 2),
    (8, 4, 6, 8),
    (7, 1, 2, 6),
    (10, 5, 6, 9),
    (6, 2, 4, 7),
]


def names(*sizes):
    return [f"c{number}" for number, size in enumerate(sizes) for _ in range(size)]


def test_the_correlation_of_published_ratings():
    # Shrout and Fleiss 1979, Psychological Bulletin 86:420, tables 2 and 4: six targets, four
    # judges, ICC(1,1) = .17
    values = [float(rating) for row in SHROUT_FLEISS for rating in row]
    assert round(intracluster_correlation(values, names(4, 4, 4, 4, 4, 4)), 2) == 0.17


@pytest.mark.parametrize(
    ("values", "sizes", "correlation"),
    [
        # between 2/3 with 2 degrees of freedom, within 4/3 with 6: (1/3 - 2/9) / (1/3 + 2 * 2/9) =
        # 1/7
        ([1, 1, 0, 0, 0, 0, 1, 0, 0], (3, 3, 3), 1 / 7),
        # every cluster is of one mind
        ([1, 1, 1, 0, 0, 0], (3, 3), 1.0),
        # clusters differ less than chance would make them, which is no correlation
        ([1, 0, 1, 0], (2, 2), 0.0),
        # sizes 1, 2, 3: between 2/3, within 2/3, m0 = (6 - 14/6) / 2 = 11/6: (1/3 - 2/9) / (1/3 +
        # 5/6 * 2/9) = 3/14
        ([1, 1, 1, 0, 1, 0], (1, 2, 3), 3 / 14),
    ],
)
def test_the_correlation_by_hand(values, sizes, correlation):
    assert intracluster_correlation(values, names(*sizes)) == pytest.approx(correlation)


@pytest.mark.parametrize(
    ("values", "sizes"), [([1, 0, 1], (1, 1, 1)), ([1, 0, 1], (3,)), ([0, 0, 0, 0], (2, 2))]
)
def test_there_is_no_correlation_without_clusters_or_variation(values, sizes):
    assert intracluster_correlation(values, names(*sizes)) is None


def test_effective_sizes_by_hand():
    # 30 clusters of 10 with r = 0.1: 300 / 1.9, times (1.96793 / 2.04523)^2 for the t of 299 and of
    # 29 degrees of freedom
    assert effective_n(names(*[10] * 30), 0.1, 0.95) == pytest.approx(
        300 / 1.9 * (1.96793 / 2.04523) ** 2, rel=1e-4
    )
    # sizes 1 and 3 weigh (1 + 9) / 4 = 2.5 of one another: nothing known of r, so each cluster is
    # one sample, less for the unequal sizes
    assert effective_n(names(1, 3), None, 0.95) == 4 / 2.5
    assert effective_n(names(2, 2, 2), None, 0.95) == 3
    assert effective_n(names(1, 1, 1), 0.9, 0.95) == 3


def test_the_largest_of_the_correlations_that_there_are():
    assert largest((None, 0.1, 0.3, None)) == 0.3
    assert largest((None, None)) is None


def prompt(facts):
    context = Context(locale="en", domain="d", slice="s")
    return EvalPrompt(
        id="p",
        prompt=(Message(role="user", content="?"),),
        expected="comply",
        context=context,
        facts=facts,
    )


@pytest.mark.parametrize(
    ("facts", "fact", "cluster"),
    [
        ({"intent": "kill a process"}, "intent", "intent:kill a process"),
        ({"intent": "kill a process", "variant_of": "q"}, "intent", "intent:kill a process"),
        ({"variant_of": "q"}, "intent", "prompt:q"),
        ({"intent": "kill a process"}, None, "prompt:p"),
        ({}, "intent", "prompt:p"),
    ],
)
def test_what_a_prompt_is_about(facts, fact, cluster):
    assert cluster_of(prompt(facts), fact) == cluster


def test_a_fact_never_meets_the_id_of_another_prompt():
    assert cluster_of(prompt({"about": "p"}), "about") != cluster_of(prompt({}), "about")


@pytest.mark.parametrize("kind", ["mean", "paired"])
def test_the_mean_is_that_of_statsmodels_with_cluster_robust_errors(kind):
    rng = random.Random("robust")
    sizes = [rng.randint(1, 12) for _ in range(25)]
    clusters = names(*sizes)
    shared = {name: rng.gauss(0, 1) for name in clusters}
    values = [shared[name] + rng.gauss(0, 1) for name in clusters]
    found = (
        mean(values, 0.95, clusters)
        if kind == "mean"
        else paired_difference([2 * one for one in values], values, 0.95, clusters)
    )
    groups = np.unique(clusters, return_inverse=True)[1]
    model = sm.OLS(values, np.ones(len(values))).fit(
        cov_type="cluster", cov_kwds={"groups": groups}, use_t=True
    )
    assert (found.value, found.low, found.high) == pytest.approx(
        (model.params[0], *model.conf_int()[0])
    )
    assert (found.n, found.clusters) == (sum(sizes), 25)


def test_clusters_never_make_a_mean_more_certain():
    # every cluster holds one -1 and one 1, so the means of the clusters do not vary at all
    values, clusters = [-1.0, 1.0] * 20, names(*[2] * 20)
    with_clusters, without = mean(values, 0.95, clusters), mean(values, 0.95)
    assert with_clusters.high - with_clusters.low >= without.high - without.low


def test_a_mean_of_one_cluster_is_refused():
    with pytest.raises(
        InsufficientEvidence, match="at least 2 clusters of scored samples and has 1"
    ):
        mean([1.0, 2.0, 3.0], 0.95, ["a", "a", "a"])


def test_nothing_seen_counts_each_cluster_once_and_a_borrowed_correlation_says_more():
    clusters = names(*[10] * 30)
    none, borrowed, alone = (
        proportion([False] * 300, 0.95, *rest) for rest in ((clusters,), (clusters, 0.1), ())
    )
    z2 = 1.959964**2
    # Wilson's upper bound of 0 of n is z^2 / (n + z^2)
    assert none.high == pytest.approx(z2 / (30 + z2))
    assert borrowed.high == pytest.approx(z2 / (borrowed.effective_n + z2))
    assert alone.high == pytest.approx(z2 / (300 + z2))
    assert (none.n, none.clusters, none.effective_n) == (300, 30, 30)
    assert (alone.clusters, alone.effective_n) == (None, None)


def test_an_own_correlation_is_used_when_it_is_the_larger():
    clusters = names(*[10] * 30)
    outcomes = [number < 30 for number in range(300)]  # three clusters always, the others never
    assert proportion(outcomes, 0.95, clusters, 0.1) == proportion(outcomes, 0.95, clusters)
    assert proportion(outcomes, 0.95, clusters).effective_n == pytest.approx(
        effective_n(clusters, 1.0, 0.95)
    )


def test_clusters_of_one_change_nothing():
    outcomes = [True, False, True, True]
    assert proportion(outcomes, 0.95, list("abcd")) == proportion(outcomes, 0.95)
    assert mean([1.0, 2.0, 4.0], 0.95, list("abc")) == mean([1.0, 2.0, 4.0], 0.95)
    assert paired_difference(outcomes, outcomes[::-1], 0.95, list("abcd")) == paired_difference(
        outcomes, outcomes[::-1], 0.95
    )


def test_a_difference_is_taken_at_the_effective_number_of_pairs():
    clusters = names(*[10] * 30)
    a = [number % 100 < 40 for number in range(300)]
    b = [number % 100 < 20 for number in range(300)]
    with_clusters, without = paired_difference(a, b, 0.95, clusters), paired_difference(a, b, 0.95)
    assert with_clusters.value == without.value
    # the twenty percent that differ are whole clusters, two of ten, so the correlation is 1 and ten
    # pairs say as much as one
    assert with_clusters.effective_n < 30
    assert (with_clusters.low, with_clusters.high) == pytest.approx(
        tango_interval(*(with_clusters.effective_n * share for share in (0.2, 0, 1)), 0.95)
    )
    assert with_clusters.low < 0.1 < without.low


def test_a_sample_that_could_not_be_scored_leaves_its_cluster_too():
    found = proportion([True, False, None, None], 0.95, ["a", "a", "b", "b"])
    assert (found.n, found.unscored, found.clusters) == (2, 2, 1)


def test_clustered_samples_need_as_many_times_more():
    clusters = names(*[10] * 30)
    alone = proportion([number < 9 for number in range(300)], 0.95)
    clustered = proportion([number % 100 < 3 for number in range(300)], 0.95, clusters, 0.1)
    assert required_n(alone, 0.05) == 457
    assert required_n(clustered, 0.05) == pytest.approx(457 * 300 / clustered.effective_n, abs=2)


def test_every_value_needs_a_cluster():
    with pytest.raises(ValueError, match="3 values need as many names of clusters, not 2"):
        cluster_sums([1.0, 2.0, 3.0], ["a", "b"])
