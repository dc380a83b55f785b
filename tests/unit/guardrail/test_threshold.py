"""The threshold of the guardrail: how many false positives the calibration rows may show, and that
the bound holds over many draws."""

import random

import pytest

from plumbline.guardrail.threshold import (
    fit_threshold,
    least_acceptable,
    most_false_positives,
    upper_bound,
)


@pytest.mark.requirement("E5")
@pytest.mark.parametrize(
    ("n", "allowed"),
    [(58, None), (59, 0), (92, 0), (93, 1), (0, None)],
)
def test_how_many_false_positives_the_number_of_rows_allows(n, allowed):
    """0.95^58 = 0.0510 and 0.95^59 = 0.0485: from 59 rows without one the bound is at most 5 %. For
    one: the published first n is 93 (Wilks 1941)."""
    assert most_false_positives(n, 0.05, 0.95) == allowed


def test_least_acceptable_is_the_first_number_that_allows_a_threshold():
    """(1 - 0.05)^59 <= 0.05 < (1 - 0.05)^58."""
    assert least_acceptable(0.05, 0.95) == 59
    assert least_acceptable(0.01, 0.99) == 459


def test_the_upper_bound_of_none_of_n_is_the_rule_of_three():
    """1 - 0.05^(1/59) = 0.0495, which 3 / 59 = 0.0508 approximates."""
    assert upper_bound(0, 59, 0.95) == pytest.approx(1 - 0.05 ** (1 / 59))
    assert upper_bound(7, 7, 0.95) == 1.0


def test_the_threshold_catches_all_that_it_may_and_blocks_no_more_than_it_must():
    """100 acceptable rows allow one false positive, so the limit is the second largest score, 0.98;
    of the violations 0.99 and 0.985 lie above, and 0.975 would cost a second false positive.

    The lower of them is caught by any threshold above 0.98; the middle to the next row below is
    taken, and the acceptable row at 0.99 is the one false positive.
    """
    acceptable = [number / 100 for number in range(98)] + [0.98, 0.99]
    scores, violations = [*acceptable, 0.975, 0.985, 0.99], [False] * 100 + [True] * 3
    found = fit_threshold(scores, violations, 0.05, 0.95)
    assert (found.allowed, found.caught, found.false_positives) == (1, 2, 1)
    assert found.value == pytest.approx(0.9825)
    assert found.bound == pytest.approx(upper_bound(1, 100, 0.95))


def test_ties_at_the_limit_are_let_through():
    """All acceptable rows score 0.5: whichever is the limit, none may be blocked, and a violation
    that scores 0.5 is not caught."""
    found = fit_threshold([0.5] * 100 + [0.5, 0.6], [False] * 100 + [True] * 2, 0.05, 0.95)
    assert (found.false_positives, found.caught) == (0, 1)
    assert 0.5 < found.value <= 0.6


@pytest.mark.requirement("E5")
@pytest.mark.parametrize(
    ("acceptable", "violations", "why"),
    [
        (
            58,
            10,
            (
                "58 acceptable responses in the calibration split are too few for any threshold; 59"
                " are needed"
            ),
        ),
        (80, 0, "none of 0 violations scores above"),
    ],
)
def test_without_enough_rows_there_is_no_threshold_and_a_reason(acceptable, violations, why):
    scores = [number / 1000 for number in range(acceptable)] + [0.9] * violations
    found = fit_threshold(scores, [False] * acceptable + [True] * violations, 0.05, 0.95)
    assert found.value is None
    assert why in found.why


@pytest.mark.requirement("E5")
def test_the_true_false_positive_rate_stays_below_the_limit_as_often_as_promised():
    """1,000 calibration splits of 150 acceptable rows with uniform scores, whose false-positive
    rate at t is 1 - t exactly.

    The umbrella algorithm promises a rate above 5 % in at most 5 % of them; with 1,000 splits a
    fair 5 % gives more than 72 with a probability of 0.1 %. A threshold whose empirical rate is 5 %
    breaks the limit about half the time.
    """
    rng = random.Random(4)
    broken = naive = 0
    for _ in range(1000):
        scores = [rng.random() for _ in range(150)]
        found = fit_threshold(
            [*scores, *(rng.random() for _ in range(600))], [False] * 150 + [True] * 600, 0.05, 0.95
        )
        broken += found.value is not None and 1 - found.value > 0.05
        naive += 1 - sorted(scores)[-8] > 0.05  # 7 of 150 lie above: an empirical rate of 4.7 %
    assert broken <= 72
    assert naive > 300
