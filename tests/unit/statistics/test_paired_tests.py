"""Paired tests against published p-values, against each other, and against every way of turning
clusters round."""

import itertools
import random

import pytest
from scipy.stats import permutation_test, ttest_1samp
from statsmodels.stats.multitest import multipletests

from plumbline.statistics.paired_tests import (
    BOOTSTRAP,
    CLUSTERED_BOOTSTRAP,
    CLUSTERED_MCNEMAR,
    MCNEMAR,
    RESAMPLES,
    bootstrap_p,
    clustered_mid_p,
    holm,
    mcnemar_exact,
    mcnemar_mid_p,
    paired_test,
)


def test_mcnemar_gives_the_p_values_of_fagerland_2013():
    # Fagerland, Lydersen and Laake 2013, table 1 (Bentur et al. 2009): 1 and 7 discordant of 21,
    # exact 0.070, mid-p 0.039
    assert round(mcnemar_exact(1, 7), 3) == 0.070
    assert round(mcnemar_mid_p(1, 7), 3) == 0.039
    assert mcnemar_mid_p(7, 1) == mcnemar_mid_p(1, 7)


@pytest.mark.parametrize(
    ("only_a", "only_b", "p"), [(0, 0, 1.0), (1, 1, 0.75), (3, 3, 1 - 20 / 64 / 2), (0, 5, 1 / 32)]
)
def test_mid_p_by_hand(only_a, only_b, p):
    # equal counts: 1 - P(seen) / 2 (Fagerland et al., equation 4); 0 of 5: 2/32 less 1/32
    assert mcnemar_mid_p(only_a, only_b) == pytest.approx(p)


def turned(differences, clusters):
    """Mid-p by going through all 2^K ways to turn whole clusters round."""
    sums = [
        sum(d for d, c in zip(differences, clusters, strict=True) if c == name)
        for name in dict.fromkeys(clusters)
    ]
    totals = [
        abs(sum(sign * one for sign, one in zip(signs, sums, strict=True)))
        for signs in itertools.product((-1, 1), repeat=len(sums))
    ]
    return sum((total > abs(sum(sums))) + (total == abs(sum(sums))) / 2 for total in totals) / len(
        totals
    )


@pytest.mark.parametrize("seed", range(5))
def test_the_clustered_test_is_the_exact_one_over_clusters(seed):
    rng = random.Random(seed)
    clusters = [f"c{rng.randrange(9)}" for _ in range(40)]
    differences = [float(rng.choice((-1, 0, 0, 1, 1))) for _ in clusters]
    assert clustered_mid_p(differences, clusters) == pytest.approx(turned(differences, clusters))


@pytest.mark.parametrize(
    ("only_a", "only_b", "ties"), [(1, 7, 4), (5, 5, 0), (12, 3, 100), (0, 0, 7)]
)
def test_with_clusters_of_one_it_is_mcnemar(only_a, only_b, ties):
    differences = [1.0] * only_a + [-1.0] * only_b + [0.0] * ties
    assert clustered_mid_p(
        differences, [str(number) for number in range(len(differences))]
    ) == pytest.approx(mcnemar_mid_p(only_a, only_b))


def test_whole_clusters_that_differ_are_weak_evidence():
    # three clusters of ten, all turned the same way: 2 of 8 ways are as extreme, half of which is
    # 1/8; pair by pair it would be 2^-30
    differences, clusters = [1.0] * 30, [str(number // 10) for number in range(30)]
    assert clustered_mid_p(differences, clusters) == pytest.approx(1 / 8)
    assert mcnemar_mid_p(30, 0) < 1e-8


def test_scipy_turns_the_same_clusters():
    rng = random.Random("scipy")
    sums = [rng.randint(-4, 5) for _ in range(10)]
    clusters = [str(number) for number, one in enumerate(sums) for _ in range(abs(one))]
    differences = [1.0 if one > 0 else -1.0 for one in sums for _ in range(abs(one))]
    exact = permutation_test(
        (sums,),
        lambda x: abs(sum(x)),
        permutation_type="samples",
        alternative="greater",
        n_resamples=5000,
    )
    seen = sum(one == abs(sum(sums)) for one in exact.null_distribution) / len(
        exact.null_distribution
    )
    assert clustered_mid_p(differences, clusters) == pytest.approx(exact.pvalue - seen / 2)


@pytest.mark.parametrize("shift", [0.0, 0.1, 0.2])
def test_the_bootstrap_agrees_with_the_t_test_where_that_is_right(shift):
    rng = random.Random(f"bootstrap {shift}")
    values = [rng.gauss(shift, 1) for _ in range(200)]
    # the share of 1,999 resamples has a standard error of 0.01, and p is twice it
    assert bootstrap_p(values, [str(number) for number in range(200)], 0) == pytest.approx(
        ttest_1samp(values, 0).pvalue, abs=0.07
    )


def test_the_bootstrap_is_seeded_and_never_zero():
    values, alone = (
        [1.0 + number / 100 for number in range(50)],
        [str(number) for number in range(50)],
    )
    assert bootstrap_p(values, alone, 3) == bootstrap_p(values, alone, 3) == 2 / (RESAMPLES + 1)
    assert bootstrap_p([-one for one in values], alone, 3) == 2 / (RESAMPLES + 1)


def test_the_bootstrap_resamples_whole_clusters():
    rng = random.Random("whole")
    shared = [rng.gauss(0.3, 1) for _ in range(20)]
    values = [one + rng.gauss(0, 0.1) for one in shared for _ in range(15)]
    clusters = [str(number) for number in range(20) for _ in range(15)]
    assert bootstrap_p(values, [str(number) for number in range(300)], 0) < 0.01
    assert bootstrap_p(values, clusters, 0) > 0.05


def test_the_method_follows_the_data():
    yes, no, numbers = (
        [True] * 4 + [False] * 4,
        [False] * 6 + [True] * 2,
        [0.5, 1.0, 2.0, 1.5, 3.0, 0.1, 0.2, 0.3],
    )
    pairs = ["a", "a", "b", "b", "c", "c", "d", "d"]
    assert paired_test(yes, no, None, 0).method == MCNEMAR
    assert paired_test(yes, no, pairs, 0).method == CLUSTERED_MCNEMAR
    assert paired_test(numbers, numbers[::-1], None, 0).method == BOOTSTRAP
    assert paired_test(numbers, numbers[::-1], pairs, 0).method == CLUSTERED_BOOTSTRAP


def test_unscored_pairs_are_left_out():
    assert paired_test(
        [True, None, True, False], [False, True, None, False], None, 0
    ) == paired_test([True, False], [False, False], None, 0)


@pytest.mark.parametrize(
    ("a", "b", "clusters"),
    [
        ([True], [False], None),
        ([True, False], [False, True], ["a", "a"]),
        ([1.0, 2.0], [0.5, 1.5], None),
        ([None, 1.0], [1.0, None], None),
        ([], [], None),
    ],
)
def test_where_nothing_can_be_tested_there_is_no_p(a, b, clusters):
    assert paired_test(a, b, clusters, 0) is None


def test_holm_by_hand():
    # Holm 1979: 4 * .005, then 3 * .01, 2 * .03, and .04 may not be smaller than what came before
    assert holm([0.01, 0.04, None, 0.03, 0.005]) == pytest.approx([0.03, 0.06, None, 0.06, 0.02])
    assert holm([0.6, 0.9]) == [1.0, 1.0]
    assert holm([]) == []
    assert holm([None]) == [None]


def test_holm_is_that_of_statsmodels():
    rng = random.Random("holm")
    values = [rng.random() ** 4 for _ in range(40)]
    assert holm(values) == pytest.approx(list(multipletests(values, method="holm")[1]))
