"""The panels are those of a published-style simulation: 8 annotators who are right in 78 % of the
votes, 3 votes on each pair."""

from datetime import UTC, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from plumbline.data.screening.annotator_quality import (
    FLOOD_EVENTS,
    check_annotators,
    compared,
    disagreements,
    flooding,
)
from plumbline.profile.data import AnnotatorConfig
from plumbline.schema.conversations import Response
from plumbline.schema.feedback import FeedbackEvent, Ranking
from tests.unit.in_memory import votes_of

RULE = AnnotatorConfig(agreement_floor=0.1, false_alarms=0.01, detectable=0.3, max_share=0.5)


def panel(votes, turned, rng, *, annotators=8, each=3, spread=0.0):
    """Votes on pairs that `each` of the annotators judge; `a0` turns a share of its votes. `votes`:
    of each annotator, on average."""
    items = votes * annotators // each
    accuracy = np.clip(rng.normal(0.78, spread, annotators), 0, 1)
    who = np.argsort(rng.random((items, annotators)), axis=1)[:, :each]
    right = (rng.random((items, each)) < accuracy[who]) ^ (
        (who == 0) & (rng.random((items, each)) < turned)
    )
    return pl.DataFrame(
        {
            "event": [f"e{n}" for n in range(items * each)],
            "time": np.arange(items * each),
            "item": np.repeat(np.arange(items), each),
            "annotator": [f"a{n}" for n in who.ravel()],
            "choice": right.ravel().astype(int),
            "weight": np.ones(items * each),
        }
    )


def table(*rows):
    """Votes from (annotator, item, choice), in time order."""
    return pl.DataFrame(
        {
            "event": [f"e{n}" for n in range(len(rows))],
            "time": list(range(len(rows))),
            "item": [str(item) for _, item, _ in rows],
            "annotator": [name for name, _, _ in rows],
            "choice": [choice for _, _, choice in rows],
            "weight": [1.0] * len(rows),
        },
        schema={
            "event": pl.String,
            "time": pl.Int64,
            "item": pl.String,
            "annotator": pl.String,
            "choice": pl.Int64,
            "weight": pl.Float64,
        },
    )


def test_a_vote_is_compared_with_the_majority_of_the_others():
    """On x the others of `a` are split, so that it has nothing to agree with; `c` is alone against
    two. On y everybody agrees, z has one vote."""
    votes = table(
        ("a", "x", 0), ("b", "x", 0), ("c", "x", 1), ("a", "y", 1), ("b", "y", 1), ("a", "z", 0)
    )
    rows = {(row["item"], row["annotator"]): row["agrees"] for row in compared(votes).to_dicts()}
    assert rows == {("x", "c"): False, ("y", "a"): True, ("y", "b"): True}
    assert disagreements(votes) == {"e2": True, "e3": False, "e4": False}


def test_repeating_a_vote_gives_it_no_more_weight():
    """`a` votes five times; only the newest counts, so that `b` and `c` have one other vote each
    way and cannot be compared."""
    votes = table(*[("a", "x", 0)] * 4, ("a", "x", 1), ("b", "x", 1), ("c", "x", 0))
    rows = {row["annotator"]: row["agrees"] for row in compared(votes).to_dicts()}
    assert rows == {"c": False}


@pytest.mark.threat("P1")
def test_a_flipper_is_flagged_given_enough_votes_and_nobody_else():
    """30 % turned votes lower agreement from 0.7386 to 0.7386 - 0.3 (2 x 0.7386 - 1) = 0.595; 480
    votes are about 315 compared ones."""
    report = check_annotators(panel(480, 0.3, np.random.default_rng(3)), RULE)
    results = {result.annotator: result for result in report.annotators}
    assert report.status == "flagged"
    assert {name for name, result in results.items() if result.status == "flagged"} == {"a0"}
    assert results["a0"].agreement == pytest.approx(0.595, abs=0.06)
    assert results["a0"].others == pytest.approx(0.739, abs=0.03)
    assert results["a0"].power > 0.8


@pytest.mark.threat("P1")
def test_fifty_votes_are_underpowered_and_no_pass():
    for seed in range(5):
        report = check_annotators(panel(50, 0.0, np.random.default_rng(seed)), RULE)
        assert report.status == "underpowered"
        assert {result.status for result in report.annotators} == {"underpowered"}
        assert all(result.power < 0.5 for result in report.annotators)


@pytest.mark.slow
@pytest.mark.threat("P1")
def test_detection_and_false_alarms_in_simulation():
    """Measured over 100 panels each: a 30 % flipper is found in at least 70 % of the panels at 400
    votes (0.82 to 0.85 in longer runs), and among equally good annotators fewer than one panel in
    fifty has a false alarm. Annotators whose accuracy varies with a standard deviation of 0.04
    raise one in 3 to 14 % of the panels at 375 to 400 votes: the check finds that they differ, not
    why.
    """
    rng = np.random.default_rng(11)
    found = sum("a0" in flagged(panel(400, 0.3, rng)) for _ in range(100))
    false = sum(bool(flagged(panel(400, 0.0, rng))) for _ in range(100))
    assert found >= 70
    assert false <= 2


@pytest.mark.slow
@pytest.mark.threat("P1")
def test_the_stated_power_is_the_share_that_is_found():
    """At 200 votes the power is well inside (0, 1): the mean that the report states and the share
    found differ by less than 0.12.

    The share of 150 panels has a standard error of 0.04; the agreement that the power assumes is
    itself estimated.
    """
    rng = np.random.default_rng(12)
    reports = [check_annotators(panel(200, 0.3, rng), RULE).annotators[0] for _ in range(150)]
    assert np.mean([result.power for result in reports]) == pytest.approx(
        np.mean([result.status == "flagged" for result in reports]), abs=0.12
    )


def flagged(votes):
    return {
        result.annotator
        for result in check_annotators(votes, RULE).annotators
        if result.status == "flagged"
    }


def test_two_annotators_can_never_be_told_apart():
    rng = np.random.default_rng(5)
    votes = table(
        *[(name, item, int(rng.random() < 0.5)) for item in range(1000) for name in ("a", "b")]
    )
    report = check_annotators(votes, RULE)
    assert report.status == "underpowered"
    assert "takes three" in report.annotators[0].message


def test_no_shared_pair_is_underpowered():
    report = check_annotators(table(("a", "x", 0), ("b", "y", 0), ("c", "z", 1)), RULE)
    assert [result.status for result in report.annotators] == ["underpowered"] * 3
    assert "nobody else" in report.annotators[0].message
    assert check_annotators(table(), RULE).status == "underpowered"


def test_the_floor_forgives_a_small_shortfall_however_sure_it_is():
    """`c` dissents in 5 % of the pairs, the others never among themselves: with 4,000 votes far
    beyond chance, and less than the floor."""
    votes = table(
        *[
            (name, item, int(name == "c" and item % 20 == 0))
            for item in range(4000)
            for name in ("a", "b", "c")
        ]
    )
    assert flagged(votes) == set()
    strict = RULE.model_copy(update={"agreement_floor": 0.01})
    assert {
        r.annotator for r in check_annotators(votes, strict).annotators if r.status == "flagged"
    } == {"c"}


def test_events_become_votes_and_a_ranking_one_vote_in_all(make_event):
    tie, plain = make_event(preferred=None), make_event("q", "b", "a", preferred=0)
    fields = {
        name: getattr(plain, name)
        for name in FeedbackEvent.model_fields
        if name not in ("id", "responses", "judgment")
    }
    texts = tuple(Response(text=text, source=plain.responses[0].source) for text in ("a", "b", "c"))
    ranking = FeedbackEvent.create(
        responses=texts, judgment=Ranking(order=((1,), (0, 2))), **fields
    )
    votes = votes_of([tie, plain, ranking])
    assert votes.filter(event=tie.id).height == 0
    assert votes.filter(event=plain.id).select("choice", "weight").rows() == [(1, 1.0)]
    assert votes.filter(event=ranking.id)["weight"].to_list() == [0.5, 0.5]
    first = votes.filter(event=ranking.id).row(0, named=True)
    assert (first["item"], first["choice"]) == (
        votes.filter(event=plain.id)["item"][0],
        1,
    )  # `b` beats `a` in both


def test_the_index_of_a_batch_gives_each_vote_once(make_event):
    later = datetime(2026, 1, 6, tzinfo=UTC)
    events = [
        make_event(
            f"q{n}",
            "x",
            "y",
            preferred=(n + k) % 3 % 2,
            annotator=f"a{k}",
            time=later + timedelta(minutes=n),
        )
        for n in range(20)
        for k in range(3)
    ]
    events.append(make_event("tied", preferred=None))
    votes = votes_of(events)
    assert dict(votes.select("event", "choice").iter_rows()) == {
        event.id: int(event.winner == "y") for event in events[:-1]
    }
    assert sorted(votes["item"].value_counts()["count"]) == [3] * 20
    assert disagreements(votes) != {}


@pytest.mark.threat("P3")
def test_more_than_the_allowed_share_is_a_flood():
    assert [
        (flood.name, flood.events, flood.share) for flood in flooding({"a": 60, "b": 40}, RULE)
    ] == [("a", 60, 0.6)]
    assert flooding({"a": 50, "b": 50}, RULE) == ()
    assert flooding({}, RULE) == ()
    assert flooding({"a": FLOOD_EVENTS - 1}, RULE) == ()
    assert [flood.share for flood in flooding({"a": FLOOD_EVENTS}, RULE)] == [1.0]


@pytest.mark.threat("P3")
def test_many_annotators_behind_one_source_are_one_flood():
    assert flooding({f"sybil-{n}": 2 for n in range(50)}, RULE) == ()
    (flood,) = flooding({"http/key": 60}, RULE, "source", total=100)
    assert (flood.what, flood.share) == ("source", 0.6)
