"""Intervals against published values, and against what they promise: coverage."""

import math
import random

import pytest
from pydantic import ValidationError

from plumbline.errors import InsufficientEvidence
from plumbline.schema.estimates import Estimate
from plumbline.statistics.intervals import (
    exact_proportion,
    mean,
    paired_difference,
    proportion,
    required_n,
    tango_interval,
)


def outcomes(true: int, n: int) -> list[bool | None]:
    return [True] * true + [False] * (n - true)


@pytest.mark.parametrize(
    ("true", "n", "low", "high"),
    [
        (81, 263, 0.2553, 0.3662),
        (15, 148, 0.0624, 0.1605),
        (0, 20, 0.0, 0.1611),
        (1, 29, 0.0061, 0.1718),
    ],
)
def test_wilson_gives_the_intervals_of_newcombe_1998(true, n, low, high):
    # Newcombe 1998, Statistics in Medicine 17:857, table I, method 3
    estimate = proportion(outcomes(true, n), 0.95)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)
    assert estimate.value == true / n
    assert estimate.method == "wilson"
    assert estimate.seed is None


@pytest.mark.parametrize(
    ("true", "n", "low", "high"),
    [
        (81, 263, 0.2527, 0.3676),
        (15, 148, 0.0578, 0.1617),
        (0, 20, 0.0, 0.1684),
        (1, 29, 0.0009, 0.1776),
    ],
)
def test_clopper_pearson_gives_the_intervals_of_newcombe_1998(true, n, low, high):
    # the same table, method 5
    estimate = exact_proportion(true, n, 0.95, unscored=3)
    assert (round(estimate.low, 4), round(estimate.high, 4)) == (low, high)
    assert (estimate.value, estimate.n, estimate.unscored, estimate.method) == (
        true / n,
        n,
        3,
        "clopper-pearson",
    )


def test_wilson_is_never_a_point():
    none, every = proportion(outcomes(0, 10), 0.95), proportion(outcomes(10, 10), 0.95)
    # z^2 / (n + z^2)
    assert none.low == 0
    assert none.high == pytest.approx(0.27753, abs=1e-5)
    assert every.low == pytest.approx(1 - none.high)
    assert every.high == 1


@pytest.mark.parametrize(
    ("only_a", "only_b", "n", "level", "low", "high"),
    [
        (
            6,
            16,
            161,
            0.95,
            -0.1240,
            -0.0054,
        ),  # Cavo et al. 2012 in Fagerland, Lydersen and Laake, chapter 8
        (28, 25, 618, 0.90, -0.0148, 0.0247),  # R, PropCIs 0.3-0, scoreci.mp
    ],
)
def test_tango_gives_published_intervals(only_a, only_b, n, level, low, high):
    found = tango_interval(only_a, only_b, n, level)
    assert tuple(round(bound, 4) for bound in found) == (low, high)


@pytest.mark.parametrize("n", [1, 10, 300])
def test_tango_without_discordant_pairs_equals_wilson_of_none(n):
    # Tango 1998: with no discordant pair the bounds are +- z^2 / (n + z^2)
    low, high = tango_interval(0, 0, n, 0.95)
    assert high == pytest.approx(proportion(outcomes(0, n), 0.95).high, abs=1e-9)
    assert low == -high


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0, 0), (10, 0), (0, 10), (3, 0), (0, 3), (5, 5), (1, 9)]
)
def test_tango_mirrors_and_stays_inside(only_a, only_b):
    low, high = tango_interval(only_a, only_b, 10, 0.95)
    mirrored = tango_interval(only_b, only_a, 10, 0.95)
    assert mirrored == pytest.approx((-high, -low), abs=1e-9)
    assert -1 <= low <= (only_a - only_b) / 10 <= high <= 1
    assert low < high


def test_pairing_is_used():
    a = outcomes(60, 100)
    agreeing, opposed = outcomes(50, 100), outcomes(50, 100)[::-1]
    close, far = paired_difference(a, agreeing, 0.95), paired_difference(a, opposed, 0.95)
    assert close.value == far.value == pytest.approx(0.1)
    assert close.high - close.low < (far.high - far.low) / 2


def test_difference_is_the_first_minus_the_second():
    assert paired_difference(outcomes(9, 10), outcomes(1, 10), 0.95).value == pytest.approx(0.8)
    assert paired_difference([3.0, 5.0], [1.0, 2.0], 0.95).value == pytest.approx(2.5)


def test_mean_gives_the_textbook_t_interval():
    # NIST/SEMATECH handbook 1.3.5.2, ZARR13: the figures of its summary, on a sample made to have
    # them
    center, spread = 9.261460, 0.022789
    sample = [center - spread] * 97 + [center + spread] * 97 + [center]
    estimate = mean(sample, 0.95)
    assert estimate.value == pytest.approx(center)
    assert estimate.low == pytest.approx(9.258242, abs=5e-6)
    assert estimate.high == pytest.approx(9.264679, abs=5e-6)


def test_unscored_samples_are_counted_and_left_out():
    rate = proportion([True, None, False, None, True, True], 0.95)
    assert (rate.value, rate.n, rate.unscored) == (0.75, 4, 2)
    average = mean([1.0, None, 3.0], 0.95)
    assert (average.value, average.n, average.unscored) == (2.0, 2, 1)
    difference = paired_difference([True, None, True, False], [False, True, None, False], 0.95)
    assert (difference.value, difference.n, difference.unscored) == (0.5, 2, 2)


@pytest.mark.parametrize(
    "estimate",
    [
        lambda: proportion([], 0.95),
        lambda: proportion([None, None], 0.95),
        lambda: exact_proportion(0, 0, 0.95),
        lambda: mean([], 0.95),
        lambda: mean([1.0], 0.95),
        lambda: mean([1.0, None], 0.95),
        lambda: paired_difference([], [], 0.95),
        lambda: paired_difference([True, None], [None, True], 0.95),
        lambda: paired_difference([1.0, None], [1.0, 2.0], 0.95),
    ],
)
def test_too_little_evidence_raises_instead_of_a_number(estimate):
    with pytest.raises(InsufficientEvidence, match="needs at least"):
        estimate()


def test_unequal_or_mixed_pairs_are_errors():
    with pytest.raises(ValueError, match="one length"):
        paired_difference([True], [True, False], 0.95)
    with pytest.raises(ValueError, match="two outcomes or two numbers"):
        paired_difference([True, False], [1.0, 0.5], 0.95)


def test_equal_values_show_no_spread():
    assert not mean([0.1] * 3, 0.95).varies
    assert not paired_difference([0.1, 0.3], [0.1, 0.3], 0.95).varies
    assert mean([0.1, 0.2], 0.95).varies


def test_an_estimate_outside_its_interval_is_invalid():
    with pytest.raises(ValidationError, match="must lie in its interval"):
        Estimate(value=0.5, low=0.6, high=0.7, level=0.95, n=10, unscored=0, method="wilson")
    with pytest.raises(ValidationError):
        Estimate(
            value=float("nan"), low=0.0, high=1.0, level=0.95, n=10, unscored=0, method="wilson"
        )


@pytest.mark.parametrize(
    ("true", "n", "threshold"),
    [(6, 150, 0.05), (3, 200, 0.05), (90, 150, 0.5), (20, 150, 0.05), (149, 150, 0.98)],
)
def test_required_n_of_a_rate_is_where_wilson_excludes_the_threshold(true, n, threshold):
    total = required_n(proportion(outcomes(true, n), 0.95), threshold)
    z, rate = 1.959964, true / n
    for samples, excluded in ((total, True), (total - 1, False)):
        # score interval of the same rate with another number of samples, written out
        center = (rate + z**2 / (2 * samples)) / (1 + z**2 / samples)
        reach = (
            z
            / (1 + z**2 / samples)
            * math.sqrt(rate * (1 - rate) / samples + z**2 / (4 * samples**2))
        )
        assert (abs(threshold - center) >= reach - 1e-7) == excluded


def test_required_n_of_a_mean_shrinks_with_the_root():
    estimate = Estimate(value=1.0, low=0.8, high=1.2, level=0.95, n=100, unscored=0, method="t")
    assert required_n(estimate, 1.1) == 400
    assert required_n(estimate, 0.9) == 400
    assert required_n(estimate, 1.0) is None
    assert required_n(mean([1.0, 1.0], 0.95), 2.0) is None


RUNS = 2000
LEVEL = 0.95
TOLERANCE = 3 * math.sqrt(LEVEL * (1 - LEVEL) / RUNS)


@pytest.mark.parametrize("n", [150, 300])
def test_wilson_covers_on_average_over_the_rates(n):
    # at a single rate the coverage of any interval for counts oscillates: see the next test
    rng = random.Random(f"wilson {n}")
    intervals = [proportion(outcomes(true, n), LEVEL) for true in range(n + 1)]
    covered = 0
    for _ in range(RUNS):
        rate = rng.uniform(0.01, 0.99)
        estimate = intervals[sum(rng.random() < rate for _ in range(n))]
        covered += estimate.low <= rate <= estimate.high
    assert covered / RUNS >= LEVEL - TOLERANCE


@pytest.mark.parametrize(("n", "least"), [(150, 0.935), (300, 0.938), (1000, 0.943)])
def test_wilson_stays_near_its_level_at_every_rate(n, least):
    intervals = [proportion(outcomes(true, n), LEVEL) for true in range(n + 1)]
    for rate in [step / 200 for step in range(2, 199)]:
        exact = sum(
            math.comb(n, true) * rate**true * (1 - rate) ** (n - true)
            for true, e in enumerate(intervals)
            if e.low <= rate <= e.high
        )
        assert exact >= least, f"rate {rate}"


@pytest.mark.parametrize(
    ("only_a", "only_b"), [(0.02, 0.02), (0.05, 0.1), (0.3, 0.2), (0.45, 0.05)]
)
def test_tango_covers(only_a, only_b):
    rng = random.Random(f"tango {only_a} {only_b}")
    n, intervals, covered = 300, {}, 0
    for _ in range(RUNS):
        draws = [rng.random() for _ in range(n)]
        counts = (sum(d < only_a for d in draws), sum(only_a <= d < only_a + only_b for d in draws))
        if counts not in intervals:
            intervals[counts] = tango_interval(*counts, n, LEVEL)
        low, high = intervals[counts]
        covered += low <= only_a - only_b <= high
    assert covered / RUNS >= LEVEL - TOLERANCE


@pytest.mark.parametrize(
    ("name", "draw", "center"),
    [
        ("normal", lambda r: r.gauss(2, 1), 2.0),
        ("utility", lambda r: 1.5 if r.random() < 0.8 else -1.2, 0.96),
    ],
)
def test_student_covers_at_the_size_of_a_slice(name, draw, center):
    rng = random.Random(name)
    covered = 0
    for _ in range(RUNS):
        estimate = mean([draw(rng) for _ in range(150)], LEVEL)
        covered += estimate.low <= center <= estimate.high
    assert covered / RUNS >= LEVEL - TOLERANCE
