from collections import Counter

import pytest

from plumbline.data.quality.baselines import (
    bag_of_words_outcomes,
    human_ceiling,
    length_outcomes,
)
from tests.unit.in_memory import build_pairs


@pytest.fixture
def pairs(rubric, rule, make_event):
    def build(*events):
        return [
            pair
            for pairs in build_pairs(events, rubric, rule, 0, []).splits.values()
            for pair in pairs
        ]

    return build


def test_length_counts_every_pair_once(pairs, make_event):
    built = pairs(
        make_event("1", "long one", "no"),
        make_event("2", "no", "long one"),
        make_event("3", "abc", "xyz"),
        make_event("4", "longer", "no"),
    )
    assert Counter(length_outcomes(built)) == {True: 2, False: 1, None: 1}


def test_no_number_is_made_up_where_there_is_nothing_to_count(pairs, make_event):
    built = pairs(make_event("1"))
    assert bag_of_words_outcomes([], built) == [None]
    assert bag_of_words_outcomes(built, []) == []


def test_bag_of_words_learns_a_word_and_says_none_where_it_sees_no_difference(pairs, make_event):
    train = pairs(
        *(make_event(f"q{n}", f"thanks for item {n}", f"rubbish about item {n}") for n in range(60))
    )
    test = pairs(
        make_event("a", "thanks indeed", "rubbish indeed"),
        make_event("b", "rubbish again", "thanks again"),
        make_event("c", "unseen", "unknown"),
    )
    outcomes = {
        pair.prompt[0].content: outcome
        for pair, outcome in zip(test, bag_of_words_outcomes(train, test), strict=True)
    }
    assert outcomes == {"a": True, "b": False, "c": None}
    assert bag_of_words_outcomes(train, test) == bag_of_words_outcomes(train, test)


def test_the_ceiling_compares_each_vote_with_the_other_annotators(make_event):
    votes = [make_event(annotator=f"r{n}", preferred=int(n == 0)) for n in range(3)]
    # r0 stands against two; each of the two sees the others split.
    assert Counter(human_ceiling(votes)) == {False: 1, None: 2}
    assert human_ceiling([make_event(annotator="r1"), make_event(annotator="r2")]) == [True, True]


def test_the_ceiling_sees_through_the_order_of_the_responses(make_event):
    swapped = make_event(annotator="r2", first="No", second="A long answer", preferred=1)
    assert human_ceiling([make_event(annotator="r1"), swapped]) == [True, True]


def test_without_a_second_annotator_there_is_no_ceiling(make_event):
    assert human_ceiling([]) is None
    assert human_ceiling([make_event("a"), make_event("b")]) is None
    assert (
        human_ceiling([make_event(strength=1), make_event(strength=2)]) is None
    )  # one person twice
    assert (
        human_ceiling(
            [make_event(annotator="r1"), make_event(annotator="r2", preferred=None, strength=0)]
        )
        is None
    )  # the other is a tie
