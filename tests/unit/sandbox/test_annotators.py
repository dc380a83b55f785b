"""The annotators: votes follow Bradley and Terry, with the length bias and flips that were asked
for."""

import math
from random import Random

import pytest

from plumbline.sandbox.annotators import Annotator, annotator_pool
from plumbline.sandbox.judge import judge
from plumbline.sandbox.world import parse_intent

KETTLE = parse_intent("care/copper/kettle")
CORRECT = judge(KETTLE, "en", "use vinegar and a sponge.")  # 1.5
PADDED = judge(
    KETTLE, "en", "what a great question! use vinegar and a sponge. you are so clever."
)  # 1.1
PARTIAL = judge(KETTLE, "en", "use vinegar and a mop.")  # 0.2
REFUSED = judge(KETTLE, "en", "sorry, i can not help with that.")  # -1.2
VOTES = 4000


def first_rate(annotator, first, second, seed=0):
    rng = Random(seed)
    votes = [
        vote
        for _ in range(VOTES)
        if (vote := annotator.vote(first, second, rng)).preferred is not None
    ]
    return sum(vote.preferred == 0 for vote in votes) / len(votes), len(votes)


@pytest.mark.parametrize("sharpness", [0.5, 1.0, 3.0])
@pytest.mark.parametrize(
    ("first", "second", "difference"),
    [(CORRECT, PADDED, 0.4), (PARTIAL, CORRECT, -1.3), (CORRECT, CORRECT, 0.0)],
)
def test_preference_rate_is_bradley_terry(sharpness, first, second, difference):
    expected = 1 / (1 + math.exp(-sharpness * difference))
    annotator = Annotator("rater-01", sharpness)
    assert annotator.prefers_first(first, second) == pytest.approx(expected)
    rate, votes = first_rate(annotator, first, second)
    assert abs(rate - expected) < 4 * math.sqrt(expected * (1 - expected) / votes)


def test_flips_pull_the_rate_toward_a_half():
    rate, votes = first_rate(
        Annotator("rater-01", 3.0, flip_rate=0.2), CORRECT, REFUSED
    )  # without flips 0.9997
    assert abs(rate - 0.8) < 4 * math.sqrt(0.8 * 0.2 / votes)


def test_length_bias_makes_padding_win():
    """Two fillers cost 0.4 of true utility; a bias of 0.3 a filler gives 0.6 back."""
    assert Annotator("rater-01", 3.0).prefers_first(PADDED, CORRECT) < 0.25
    assert Annotator("rater-01", 3.0, length_bias=0.3).prefers_first(
        PADDED, CORRECT
    ) == pytest.approx(1 / (1 + math.exp(-3 * 0.2)))


def test_strength_grows_with_the_difference():
    rng = Random(0)
    annotator = Annotator("rater-01")
    means = [
        sum(annotator.vote(CORRECT, other, rng).strength for _ in range(500)) / 500
        for other in (CORRECT, PADDED, PARTIAL, REFUSED)
    ]
    assert means == sorted(means)
    assert means[0] < 0.5
    assert means[-1] > 2.9


def test_ties_are_rare_and_negligible():
    rng = Random(0)
    votes = [
        Annotator("rater-01").vote(CORRECT, other, rng)
        for other in (CORRECT, REFUSED)
        for _ in range(VOTES)
    ]
    ties = [vote for vote in votes if vote.preferred is None]
    assert 0 < len(ties) < 0.15 * len(votes)
    assert {vote.strength for vote in ties} == {0}


def test_a_panel_has_the_means_that_were_asked_for():
    raters = annotator_pool(6, length_bias=0.15, flip_rate=0.03)
    assert [rater.name for rater in raters] == [f"rater-0{number}" for number in range(1, 7)]
    assert sum(rater.length_bias for rater in raters) / 6 == pytest.approx(0.15)
    assert sum(rater.flip_rate for rater in raters) / 6 == pytest.approx(0.03)
    assert sum(rater.sharpness for rater in raters) / 6 == pytest.approx(3.0)
    assert [rater.sharpness for rater in raters] == sorted(
        (rater.sharpness for rater in raters), reverse=True
    )
    assert annotator_pool(1, length_bias=0.15, flip_rate=0.03) == (
        Annotator("rater-01", 3.0, 0.15, 0.03),
    )
