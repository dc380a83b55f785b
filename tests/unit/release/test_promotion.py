"""Promotions in the ledger, on a real SQLite file."""

import multiprocessing

import pytest

from plumbline.errors import PromotionRefused
from plumbline.lineage.ledger import Ledger
from plumbline.release.promotion import (
    current_champion,
    find_release,
    promote,
    promotions,
    roll_back,
)


def digest(letter):
    return "sha256:" + letter * 64


def release(ledger, letter, profile="sandbox"):
    return promote(
        ledger,
        profile,
        policy=digest(letter),
        decision=digest(letter),
        recipe="dpo",
        released_by="gates",
        by=("ann",),
        reason="all gates passed",
    )


@pytest.fixture
def ledger(tmp_path):
    return Ledger(tmp_path / "ledger.db")


def test_the_newest_promotion_names_the_champion_of_its_profile_alone(ledger):
    assert current_champion(ledger, "sandbox") is None
    first, second = release(ledger, "a"), release(ledger, "b")
    other = release(ledger, "c", profile="real-data-cpu")
    assert (first.number, second.number, other.number) == (1, 2, 1)
    assert current_champion(ledger, "sandbox") == second
    assert current_champion(ledger, "real-data-cpu") == other
    assert ledger.verify() == ()


def test_promoting_the_champion_again_changes_nothing(ledger):
    first = release(ledger, "a")
    assert release(ledger, "a") == first
    assert len(promotions(ledger, "sandbox")) == 1


def test_a_rollback_goes_to_any_earlier_release_and_is_itself_recorded(ledger):
    for letter in "abc":
        release(ledger, letter)
    back = roll_back(ledger, "sandbox", "aaaaaa", by=("ann",), reason="c insults people")
    assert (back.action, back.policy, back.number, back.reason) == (
        "rollback",
        digest("a"),
        4,
        "c insults people",
    )
    assert current_champion(ledger, "sandbox") == back
    assert roll_back(
        ledger, "sandbox", digest("b"), by=("bob",), reason="a is too old"
    ).policy == digest("b")
    assert [one.policy[7] for one in promotions(ledger, "sandbox")] == ["a", "b", "c", "a", "b"]


def test_a_policy_that_was_rolled_back_from_returns_by_a_rollback_only(ledger):
    release(ledger, "a")
    release(ledger, "b")
    roll_back(ledger, "sandbox", "aaaaaa", by=("ann",), reason="b is broken")
    with pytest.raises(PromotionRefused, match="rolled back from"):
        release(ledger, "b")
    assert current_champion(ledger, "sandbox").policy == digest("a")
    assert roll_back(
        ledger, "sandbox", "bbbbbb", by=("ann",), reason="it was the load balancer"
    ).policy == digest("b")


@pytest.mark.parametrize(
    ("given", "why"),
    [
        ("ffffff", "names 0 releases"),
        ("aaaaa", "names 0 releases"),
        ("bbbbbbb", "champion of 'sandbox' already"),
    ],
)
def test_a_rollback_to_nothing_is_refused_and_names_what_is_there(ledger, given, why):
    release(ledger, "a")
    release(ledger, "b")
    with pytest.raises(PromotionRefused, match=why):
        roll_back(ledger, "sandbox", given, by=("ann",), reason="why not")
    assert len(promotions(ledger, "sandbox")) == 2


def test_a_release_of_another_profile_is_not_found(ledger):
    release(ledger, "a", profile="real-data-cpu")
    with pytest.raises(PromotionRefused, match="one of: none"):
        find_release(ledger, "sandbox", "aaaaaa")


def _promote(path, letter, barrier, outcomes):
    barrier.wait()
    try:
        outcomes.put(release(Ledger(path), letter).policy)
    except PromotionRefused as error:
        outcomes.put(str(error))


def test_promotions_at_the_same_time_end_in_one_order(ledger):
    """Each of four processes either promotes or is told that another one did: the ledger holds
    exactly those that promoted, numbered without a gap."""
    context = multiprocessing.get_context("spawn")
    barrier, outcomes = context.Barrier(4), context.Queue()
    workers = [
        context.Process(target=_promote, args=(ledger.path, letter, barrier, outcomes))
        for letter in "abcd"
    ]
    for worker in workers:
        worker.start()
    said = [outcomes.get(timeout=120) for _ in workers]
    for worker in workers:
        worker.join()
    made = promotions(ledger, "sandbox")
    assert sorted(one.policy for one in made) == sorted(
        one for one in said if one.startswith("sha256:")
    )
    assert [one.number for one in made] == list(range(1, len(made) + 1))
    assert all("recorded at the same time" in one for one in said if not one.startswith("sha256:"))
    assert ledger.verify() == ()
