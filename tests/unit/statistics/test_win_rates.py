"""Win rates with ties; length alone wins raw and nothing else."""

import math
import random

import pytest

from plumbline.errors import InsufficientEvidence
from plumbline.statistics.intervals import tango_interval
from plumbline.statistics.win_rates import win_rate

EQUAL = (10.0, 10.0)


def test_a_tie_is_half_a_win():
    found = win_rate([1.0] * 6 + [0.5] * 2 + [0.0] * 2 + [None], [EQUAL] * 11, 0.95)
    assert (found.wins, found.ties, found.losses, found.unscored) == (6, 2, 2, 1)
    assert found.rate.value == 0.7
    assert (found.rate.n, found.rate.unscored) == (10, 1)
    low, high = tango_interval(6, 2, 10, 0.95)
    assert (found.rate.low, found.rate.high) == pytest.approx(((1 + low) / 2, (1 + high) / 2))


def test_winning_always_and_tying_always_have_a_width():
    every, none = (
        win_rate([1.0] * 20, [EQUAL] * 20, 0.95).rate,
        win_rate([0.5] * 20, [EQUAL] * 20, 0.95).rate,
    )
    assert (every.value, every.high) == (1.0, 1.0)
    assert every.low < 0.95
    # no discordant pair: Tango's bounds are +- z^2 / (n + z^2)
    assert (none.low, none.high) == pytest.approx(
        (0.5 - 3.8415 / 23.8415 / 2, 0.5 + 3.8415 / 23.8415 / 2), abs=1e-4
    )


def test_pairs_of_like_length_stand_alone():
    found = win_rate([1.0, 1.0, 0.0, 1.0], [(100, 50), (100, 90), (90, 100), (100, 89)], 0.95)
    # 89 of 100 is 11 % shorter
    assert (found.matched.n, found.matched.value) == (2, 0.5)
    assert win_rate([1.0, 0.0], [(100, 50), (10, 50)], 0.95).matched is None


def judged(rng, quality, length):
    """Verdicts of a judge on 1,500 pairs: `quality` is the log odds of the first side at equal
    length, `length` its love of length.

    Without a quality of its own the first side is the longer one.
    """
    rows = []
    for _ in range(1500):
        longer = rng.gauss(40, 30)
        odds = quality + length * math.tanh(longer / 30)
        rows.append((float(rng.random() < 1 / (1 + math.exp(-odds))), (200 + longer, 200.0)))
    return rows


def test_a_policy_that_is_only_longer_wins_raw_and_ties_at_equal_length():
    found = win_rate(*zip(*judged(random.Random("padding"), 0.0, 1.5), strict=True), 0.95)
    assert found.rate.low > 0.65
    assert found.length_controlled.low < 0.5 < found.length_controlled.high
    assert found.matched.low < 0.55
    assert found.length_effect.low > 0


def test_a_better_policy_wins_at_equal_length_too():
    found = win_rate(*zip(*judged(random.Random("better"), 0.8, 0.0), strict=True), 0.95)
    # the odds of e^0.8 are a rate of 0.69
    assert found.length_controlled.low < 1 / (1 + math.exp(-0.8)) < found.length_controlled.high
    assert found.length_controlled.low > 0.5
    assert found.length_effect.low < 0 < found.length_effect.high


def test_the_regression_covers_the_true_rate():
    held = 0
    for run in range(60):
        rng = random.Random(f"cover {run}")
        found = win_rate(*zip(*judged(rng, 0.4, 0.7)[:300], strict=True), 0.95)
        # the length term is scaled by the spread of the drawn lengths, which is 30 but for chance
        held += (
            found.length_controlled.low <= 1 / (1 + math.exp(-0.4)) <= found.length_controlled.high
        )
    assert held >= 53  # 57 expected; 52 or fewer has probability 0.02


def test_clusters_widen_every_figure():
    rng = random.Random("clusters")
    rows = []
    for cluster in range(40):
        lean = rng.gauss(0.5, 1.5)
        rows += [
            (
                float(rng.random() < 1 / (1 + math.exp(-lean))),
                (200 + rng.gauss(0, 30), 200.0),
                str(cluster),
            )
            for _ in range(10)
        ]
    outcomes, lengths, clusters = (list(column) for column in zip(*rows, strict=True))
    alone, together = win_rate(outcomes, lengths, 0.95), win_rate(outcomes, lengths, 0.95, clusters)
    for name in ("rate", "length_controlled"):
        assert getattr(together, name).high - getattr(together, name).low > 1.3 * (
            getattr(alone, name).high - getattr(alone, name).low
        )
    assert together.rate.clusters == together.length_controlled.clusters == 40


@pytest.mark.parametrize(
    ("outcomes", "lengths", "says"),
    [
        (
            [1.0] * 20,
            [(float(n), 5.0) for n in range(20)],
            "needs 5 wins, 5 losses and 10 clusters",
        ),
        ([1.0, 0.0] * 10, [(20.0, 10.0)] * 20, "same difference in length"),
        (
            [float(n >= 10) for n in range(20)],
            [(float(n), 9.5) for n in range(20)],
            "length decides nearly every verdict",
        ),
    ],
)
def test_a_regression_that_means_nothing_is_not_given(outcomes, lengths, says):
    found = win_rate(outcomes, lengths, 0.95)
    assert (found.length_controlled, found.length_effect) == (None, None)
    assert says in found.why_not


def test_a_judge_who_counts_words_with_a_slip_now_and_then():
    # lengths far apart decide every verdict and lengths alike by chance: the fit runs away without
    # a perfect separation
    rng = random.Random("words")
    pairs = [(float(rng.choice((12, 20, 31))), float(rng.choice((12, 20, 31)))) for _ in range(400)]
    outcomes = [float(a > b) if a != b else float(rng.random() < 0.5) for a, b in pairs]
    found = win_rate(outcomes, pairs, 0.95)
    assert (found.length_controlled, found.length_effect) == (None, None)
    assert "length decides nearly every verdict" in found.why_not
    assert found.matched.low < 0.5 < found.matched.high


def test_nobody_judged():
    with pytest.raises(InsufficientEvidence):
        win_rate([None, None], [EQUAL, EQUAL], 0.95)


def test_other_numbers_are_no_outcomes():
    with pytest.raises(ValueError, match=r"1\.0 for a win"):
        win_rate([0.7], [EQUAL], 0.95)
