"""How votes are counted, against a plain recomputation of the stated rules and against values
derived by hand."""

import itertools
from datetime import UTC, datetime

import pytest

from plumbline.data.adjudication.decisions import Adjudication, QueueItem, chosen_of, item_key
from plumbline.data.preferences.build import ROUTES
from plumbline.data.splits import judged_pair, prompt_key, split_of
from plumbline.records import sha256
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import (
    Ranking,
    Rating,
    ResponseLabel,
)
from plumbline.schema.preferences import AttackExample, UnpairedLabel
from plumbline.storage.jsonl import read_records
from tests.unit.data.preferences.conftest import compare


def decide(item, decision):
    """The decision of one person on one item, as `build_preferences` takes it."""
    when = datetime(2026, 2, 1, tzinfo=UTC)
    fields = {
        "id": 1,
        "rubric": item.rubric,
        "clause": "help",
        "by": "Ada",
        "reason": "read both",
        "decided_at": when,
    }
    return {
        item.item: Adjudication(
            item=item.item, decision=decision, chosen=chosen_of(item, decision), **fields
        )
    }


@pytest.mark.requirement("D6")
def test_a_ranking_is_one_vote_divided_over_its_untied_pairs(judge, build):
    """Three responses, a over b and c, which tie: two untied pairs, each with weight 1/2 and a
    margin of one place, 0.25."""
    event = judge("q", ["b", "a", "c"], Ranking(order=((1,), (0, 2))))
    built = build([event])
    found = {
        (pair.chosen, pair.rejected): (pair.weight, pair.votes, pair.margin, pair.agreement)
        for pair in built.pairs.values()
    }
    assert found == {("a", "b"): (0.5, 1, 0.25, 1.0), ("a", "c"): (0.5, 1, 0.25, 1.0)}
    assert built.counts["events"] == built.counts["events used"] == 1
    assert built.set_aside == {}


@pytest.mark.requirement("D6", "D7")
def test_the_margin_of_a_ranking_grows_by_places_up_to_the_largest(judge, build):
    """Six places: 1 to 5 apart are 0.25, 0.5, 0.75, 1 and 1 (the largest), and the weights of the
    15 pairs add up to the one vote."""
    texts = [f"answer {n}" for n in range(6)]
    built = build([judge("q", texts, Ranking(order=tuple((n,) for n in range(6))))])
    margins = {
        (texts.index(pair.chosen), texts.index(pair.rejected)): pair.margin
        for pair in built.pairs.values()
    }
    assert margins == {(a, b): min(0.25 * (b - a), 1) for a in range(6) for b in range(a + 1, 6)}
    assert sum(pair.weight for pair in built.pairs.values()) == pytest.approx(1)


@pytest.mark.requirement("D6")
def test_agreement_is_by_weight(judge, build):
    """One comparison (weight 1) for a against a ranking of three (1/3 each) for b: 1 / (1 + 1/3) =
    0.75, two votes."""
    ranking = judge("q", ["a", "b", "c"], Ranking(order=((1,), (0,), (2,))), annotator="r2")
    built = build([judge("q", ["b", "a"], compare(1), annotator="r1"), ranking])
    (pair,) = (pair for pair in built.pairs.values() if {pair.chosen, pair.rejected} == {"a", "b"})
    assert (pair.chosen, pair.votes) == ("a", 2)
    assert pair.agreement == pytest.approx(0.75)
    assert pair.weight == pytest.approx(4 / 3)
    assert built.counts["events used"] == 2


def test_three_thirds_equal_one_vote(judge, build):
    """Three rankings of three give b 3 * 1/3 against one comparison for a: a contradiction, though
    1/3 is no exact number."""
    rankings = [
        judge("q", ["a", "b", f"c{n}"], Ranking(order=((1,), (0,), (2,))), annotator=f"r{n}")
        for n in range(3)
    ]
    built = build([judge("q", ["a", "b"], compare(0), annotator="r9"), *rankings])
    assert not [pair for pair in built.pairs.values() if {pair.chosen, pair.rejected} == {"a", "b"}]
    (item,) = built.queue
    assert (item.why, item.responses, item.agreement) == ("contradiction", ("a", "b"), 0.5)
    assert sorted(vote.annotator for vote in item.votes) == ["r0", "r1", "r2", "r9"]


def test_the_newest_judgment_of_an_annotator_counts(judge, build):
    old, new = (
        judge("q", ["a", "b"], compare(0), minutes=0),
        judge("q", ["b", "a"], compare(0), minutes=5),
    )
    back = judge("other", ["a", "b"], compare(0), minutes=0)
    tie = judge("other", ["a", "b"], compare(None, 0), minutes=1)
    built = build([new, old, back, tie])
    (pair,) = built.pairs.values()
    assert (pair.chosen, pair.votes, pair.event_ids) == ("b", 1, (new.id,))
    assert built.set_aside == {old.id: "judged again", back.id: "judged again", tie.id: "tie"}


@pytest.mark.requirement("S5")
def test_a_pair_under_two_versions_is_decided_by_the_newest(judge, build, rubric):
    """Version 3 accepts 1 and 2: of one pair the votes under 3 decide, of another those under 2; a
    pair judged under 1 alone keeps that label."""
    current = rubric.model_copy(update={"version": 3, "accepts": ("test@1", "test@2")})
    labels = {
        ("q1", 1): 0,
        ("q1", 2): 0,
        ("q1", 3): 1,
        ("q2", 1): 0,
        ("q2", 2): 1,
        ("q3", 1): 0,
    }
    events = {
        key: judge(
            key[0], ["a", "b"], compare(side), rubric=f"test@{key[1]}", annotator=f"r{key[1]}"
        )
        for key, side in labels.items()
    }
    foreign = judge("q4", ["a", "b"], compare(0), rubric="test@4")
    built = build([*events.values(), foreign], rubric=current)
    assert {
        pair.prompt[0].content: (pair.chosen, pair.rubric) for pair in built.pairs.values()
    } == {
        "q1": ("b", "test@3"),
        "q2": ("b", "test@2"),
        "q3": ("a", "test@1"),
    }
    assert built.set_aside == {
        events["q1", 1].id: "superseded rubric",
        events["q1", 2].id: "superseded rubric",
        events["q2", 1].id: "superseded rubric",
        foreign.id: "other rubric",
    }


@pytest.mark.requirement("S8")
def test_ratings_become_differences_by_dimension(judge, build):
    """Chosen b has safe 5 and 4, rejected a 1 and 2: the mean difference is (4 + 2) / 2 = 3;
    helpful was rated for both once: 2 - 3."""
    one = judge(
        "q",
        ["a", "b"],
        compare(1),
        annotator="r1",
        ratings=ratings((0, "safe", 1), (1, "safe", 5), (0, "helpful", 3), (1, "helpful", 2)),
    )
    two = judge(
        "q",
        ["b", "a"],
        compare(0),
        annotator="r2",
        ratings=ratings((0, "safe", 4), (1, "safe", 2), (0, "correct", 5)),
    )
    (pair,) = build([one, two]).pairs.values()
    assert pair.ratings == {"safe": 3.0, "helpful": -1.0}


def ratings(*rows):
    return tuple(
        Rating(response=response, dimension=dimension, score=score)
        for response, dimension, score in rows
    )


def test_unpaired_labels_are_counted_like_votes(judge, build):
    good = [
        judge("q", ["fine"], ResponseLabel(desirable=True), annotator=f"r{n}") for n in range(3)
    ]
    bad = judge("q", ["fine"], ResponseLabel(desirable=False), annotator="r3")
    even = [
        judge("p", ["so so"], ResponseLabel(desirable=desirable), annotator=f"r{int(desirable)}")
        for desirable in (True, False)
    ]
    built = build([*good, bad, *even])
    (label,) = read_records(built.folder / "labels.jsonl", UnpairedLabel)
    assert (label.response, label.desirable, label.votes, label.agreement) == (
        "fine",
        True,
        4,
        0.75,
    )
    assert label.event_ids == tuple(sorted(event.id for event in [*good, bad]))
    assert label.split == split_of(prompt_key(label.prompt), split_shares(), 0)
    assert built.set_aside == {event.id: "contradiction" for event in even}
    assert built.queue == []
    assert (built.counts["labels"], built.counts["pairs"]) == (1, 0)


def split_shares():
    from plumbline.profile.data import SplitShares

    return SplitShares(validation=0.2, calibration=0.1)


@pytest.mark.requirement("D19", "D20")
def test_every_kind_of_feedback_takes_its_route(judge, build):
    events = [
        judge("compare", ["a", "b"], compare(0)),
        judge("rank", ["a", "b", "c"], Ranking(order=((0,), (1,), (2,)))),
        judge("label", ["a"], ResponseLabel(desirable=True)),
        judge("attack", ["a", "b"], compare(0), attack="role-play"),
        judge("attack on one", ["a"], ResponseLabel(desirable=False), attack="payload-splitting"),
    ]
    built = build(events)
    assert {kind: route.get("events") for kind, route in built.routes.items()} == {
        "demonstration": None,
        "comparison": 1,
        "ranking": 1,
        "verdict": 1,
        "attack": 2,
    }
    assert set(built.routes) == set(ROUTES)
    attacks = {row.id: row for row in read_records(built.folder / "guardrail.jsonl", AttackExample)}
    assert {row.attack for row in attacks.values()} == {"role-play", "payload-splitting"}
    assert attacks[events[3].id].judgment == events[3].judgment
    assert attacks[events[3].id].responses == ("a", "b")
    assert {pair.prompt[0].content for pair in built.pairs.values()} == {"compare", "rank"}
    assert (
        built.counts["events"],
        built.counts["events used"],
        built.counts["attacks"],
        built.set_aside,
    ) == (5, 3, 2, {})


@pytest.mark.requirement("S7")
def test_disputed_pairs_wait_for_a_person_and_take_the_decision(judge, build):
    """Two against one is 0.67, below 0.7: queued with all votes and the tie beside them; `second`
    turns the pair round and settles it."""
    events = [
        judge("q", ["yes", "no"], compare(0, 1), annotator="r1", clause="help", reason="clear"),
        judge("q", ["yes", "no"], compare(0, 3), annotator="r2"),
        judge("q", ["yes", "no"], compare(1, 3), annotator="r3"),
        judge("q", ["no", "yes"], compare(None, 0), annotator="r4"),
    ]
    strict = {"rule": strict_rule()}
    built = build(events, **strict)
    (item,) = built.queue
    assert item.item == item_key(events[0].prompt, ["no", "yes"])
    assert item.responses == ("no", "yes")
    assert [
        (vote.annotator, vote.preferred, vote.strength, vote.clause, vote.reason)
        for vote in item.votes
    ] == [
        ("r1", 1, 1, "help", "clear"),
        ("r2", 1, 3, None, None),
        ("r3", 0, 3, None, None),
        ("r4", None, 0, None, None),
    ]
    assert (item.why, item.clauses, item.agreement) == (
        "low agreement",
        ("help",),
        pytest.approx(2 / 3),
    )
    assert built.set_aside == {event.id: "low agreement" for event in events[:3]} | {
        events[3].id: "tie"
    }

    for decision, chosen, margin, share in (
        ("first", "no", 1.0, 1 / 3),
        ("second", "yes", (0.25 + 1) / 2, 2 / 3),
    ):
        decided = build(events, adjudications=decide(item, decision), **strict)
        (pair,) = decided.pairs.values()
        assert (pair.chosen, pair.margin, pair.agreement, pair.votes) == (chosen, margin, 1.0, 3)
        assert decided.queue == []
        (row,) = decided.rows("adjudicated")
        assert (row["pair"], row["item"], row["decision"], row["by"], row["reason"]) == (
            pair.id,
            item.item,
            decision,
            "Ada",
            "read both",
        )
        assert row["share"] == pytest.approx(share)
        assert row["chosen"] == sha256(chosen.encode())
    for decision in ("tie", "exclude"):
        decided = build(events, adjudications=decide(item, decision), **strict)
        assert decided.pairs == {}
        assert decided.set_aside == {
            event.id: f"adjudicated: {decision}" for event in events[:3]
        } | {events[3].id: "tie"}
        assert decided.queue == []


def strict_rule():
    from plumbline.profile.data import ContaminationConfig, NearDuplicateConfig, PreferenceConfig

    return PreferenceConfig(
        split=split_shares(),
        min_agreement=0.7,
        near_duplicates=NearDuplicateConfig(shingle=5, threshold=0.7, action="report"),
        contamination=ContaminationConfig(ngram=8, threshold=0.5),
        suite="suites/preferences.yaml",
    )


def test_a_decision_for_a_response_without_a_vote_makes_the_pair_with_its_own_id(judge, build):
    events = [judge("q", ["a", "b"], compare(0, 3))]
    item = QueueItem(
        item=item_key(events[0].prompt, ["a", "b"]),
        rubric="test@1",
        prompt=events[0].prompt,
        responses=("a", "b"),
        votes=build_view(events[0]),
        agreement=1.0,
        clauses=(),
        why="low agreement",
    )
    (before,), (after,) = (
        build(events).pairs.values(),
        build(events, adjudications=decide(item, "second")).pairs.values(),
    )
    assert (after.chosen, after.rejected, after.margin) == (
        "b",
        "a",
        0.0,
    )  # nobody said by how much: negligible
    (other,) = build([judge("q", ["a", "b"], compare(1))]).pairs.values()
    assert after.id == other.id != before.id


def test_a_decision_is_found_when_the_digest_of_its_item_ends_in_zero(judge, build):
    """Fixed-width byte strings lose zero bytes at their end; one digest in 256 has one."""
    prompt = next(
        text
        for n in itertools.count()
        if judged_pair((Message(role="user", content=(text := f"q{n}")),), ["a", "b"]).endswith(
            "00"
        )
    )
    events = [judge(prompt, ["a", "b"], compare(n), annotator=f"r{n}") for n in range(2)]
    (item,) = build(events).queue
    assert item.item.endswith("00")
    (pair,) = build(events, adjudications=decide(item, "second")).pairs.values()
    assert pair.chosen == "b"


def build_view(event):
    from plumbline.data.adjudication.decisions import VoteView

    return (
        VoteView(
            event=event.id,
            annotator=event.annotator,
            preferred=0,
            strength=3,
            clause=None,
            reason=None,
            rubric=event.rubric,
        ),
    )


@pytest.mark.requirement("D9")
def test_excluded_events_are_set_aside_with_their_reason_and_do_not_vote(judge, build):
    events = [judge("q", ["a", "b"], compare(n // 2), annotator=f"r{n}") for n in range(3)]
    excluded = {
        events[0].id: "withdrawn: the person r0",
        events[1].id: "flagged annotator",
        "0" * 40: "in no batch",
    }
    built = build(events, excluded=excluded)
    (pair,) = built.pairs.values()
    assert (pair.chosen, pair.event_ids) == ("b", (events[2].id,))
    assert built.set_aside == {
        events[0].id: "withdrawn: the person r0",
        events[1].id: "flagged annotator",
    }


def test_an_event_that_was_redacted_is_replaced(judge, build):
    original = judge("my number is 1", ["a", "b"], compare(0))
    redacted = judge("my number is [phone]", ["a", "b"], compare(0), redacted_from=original.id)
    built = build([original, redacted])
    assert built.set_aside == {original.id: "redacted"}
    assert [pair.event_ids for pair in built.pairs.values()] == [(redacted.id,)]


@pytest.mark.threat("D9")
def test_contaminated_pairs_are_named(judge, build, make_held_out):
    text = "explain to me in a few short words how the tides of the sea come about"
    (held,) = vault = make_held_out(text)
    events = {
        "exact": judge(text, ["a", "b"], compare(0)),
        "normalized": judge(text.upper() + "!", ["a", "b"], compare(0)),
        "containment": judge("Please, dear friend, " + text + " and why", ["a", "b"], compare(0)),
    }
    clean = judge("how do tides work", ["a", "b"], compare(0))
    built = build([*events.values(), clean], held_out=vault)
    assert built.set_aside == {event.id: "held-out prompt" for event in events.values()}
    rows = {row["kind"]: row for row in built.rows("contamination")}
    for kind, event in events.items():
        (pair,) = build([event]).pairs.values()
        assert (rows[kind]["pair"], rows[kind]["held_out"], rows[kind]["events"]) == (
            pair.id,
            held.id,
            [event.id],
        )
        assert 0.5 <= rows[kind]["share"] <= 1
    assert built.counts["pairs on held-out prompts"] == 3
