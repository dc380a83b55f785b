"""Decisions by name on disputed pairs, and the proposals to revise a rubric that they open; on
SQLite and PostgreSQL."""

from datetime import datetime, timedelta

import pytest
import yaml
from pydantic import ValidationError

from plumbline.data.adjudication.decisions import (
    Adjudications,
    QueueItem,
    by_the_order,
    chosen_of,
    item_key,
    open_items,
    read_queue,
)
from plumbline.data.adjudication.rubric_revisions import adjudicate, draft_revision
from plumbline.data.batch_index.index import write_batch
from plumbline.data.preferences.build import build_preferences
from plumbline.errors import ConfigError, DataError
from plumbline.records import sha256
from plumbline.schema.preferences import SPLITS, PreferencePair
from plumbline.schema.rubric import Rubric
from plumbline.storage.jsonl import read_records
from plumbline.strict_yaml import load_record
from tests.unit.conftest import event, turns
from tests.unit.data.adjudication.conftest import NOW, decide, item, vote


@pytest.mark.requirement("S7")
def test_a_decision_keeps_who_why_and_which_text(database, two_clauses):
    made = decide(database, two_clauses).adjudication
    assert (made.decision, made.clause, made.by, made.reason, made.decided_at) == (
        "first",
        "harm",
        "Ada",
        "It is.",
        NOW,
    )
    assert made.chosen == sha256(b"A long answer")
    assert Adjudications(database).all() == (made,)


@pytest.mark.requirement("S7")
def test_a_later_decision_takes_the_place_of_an_earlier_one_and_both_are_kept(
    database, two_clauses
):
    first = decide(database, two_clauses).adjudication
    second = decide(
        database, two_clauses, decision="exclude", by="Grace", now=NOW - timedelta(days=1)
    ).adjudication  # a clock that was set back
    adjudications = Adjudications(database)
    assert adjudications.all() == (first, second)
    assert adjudications.current("test@1") == {item().item: second}
    assert second.chosen is None


@pytest.mark.requirement("S5")
def test_a_decision_holds_under_its_rubric_version_alone(database, two_clauses):
    made = decide(database, two_clauses).adjudication
    following = two_clauses.model_copy(update={"version": 2})
    assert Adjudications(database).current(following.label) == {}
    assert open_items([item()], {made.item: made}) == ()
    assert len(open_items([item(rubric="test@2")], {made.item: made})) == 1
    with pytest.raises(DataError, match="queued under test@1, the rubric is now test@2"):
        decide(database, following)
    other = adjudicate(
        database,
        item(rubric="test@2"),
        following,
        clause="harm",
        decision="second",
        by="A",
        reason="r",
        proposal_after=3,
        now=NOW,
    )
    assert Adjudications(database).current("test@2") == {
        made.item: other.adjudication
    }  # the same pair, decided either way under two versions
    assert Adjudications(database).current("test@1") == {made.item: made}


@pytest.mark.requirement("S7")
@pytest.mark.parametrize(
    ("by", "reason", "match"),
    [
        ("", "r", "the name is empty"),
        (" \n", "r", "name"),
        ("Ada", "  ", "the reason is empty"),
        ("A" * 257, "r", "257"),
    ],
)
def test_a_decision_without_name_or_reason_is_refused(database, two_clauses, by, reason, match):
    with pytest.raises(DataError, match=match):
        decide(database, two_clauses, by=by, reason=reason)
    assert Adjudications(database).all() == ()


def test_a_decision_that_could_not_be_read_again_is_refused(database):
    fields = {
        "item": item().item,
        "rubric": "test@1",
        "clause": "harm",
        "decision": "tie",
        "chosen": None,
        "by": "Ada",
        "reason": "r",
        "now": NOW,
    }

    def record(wrong):
        with database.writing() as connection:
            Adjudications(database).record(connection, **fields | wrong)

    for decision, chosen in (("first", None), ("tie", sha256(b"x"))):
        with pytest.raises(DataError, match=r"the chosen text|chooses no text"):
            record({"decision": decision, "chosen": chosen})
    for wrong in (
        {"item": "sha256:1"},
        {"clause": "No Clause"},
        {"decision": "third"},
        {"now": datetime(2026, 1, 5)},  # noqa: DTZ001 - the point
    ):
        with pytest.raises(DataError):
            record(wrong)
    assert Adjudications(database).all() == ()


def test_a_clause_that_the_rubric_does_not_have_is_refused(database, two_clauses):
    with pytest.raises(ConfigError, match="no clause 'profit'; its clauses are: harm, brief"):
        decide(database, two_clauses, clause="profit")


@pytest.mark.requirement("S7")
@pytest.mark.requirement("S5")
def test_the_draft_is_the_next_version_and_names_the_decisions(database, two_clauses, tmp_path):
    reason = "Nobody\nagrees: \u202ewhat # is brief? - x: [y]"
    decide(database, two_clauses, 0, "brief", by="Ada: 'L'", reason=reason)
    [proposal] = decide(database, two_clauses, 1, "brief", "tie", after=2).proposals
    text = draft_revision(
        proposal,
        two_clauses,
        Adjudications(database).all(),
        {item().item: item(votes=(vote(0, reason="too long"),))},
    )
    path = tmp_path / "draft.yaml"
    path.write_text(text)
    draft = load_record(path, Rubric)
    assert (draft.label, draft.accepts, draft.approval.approved_by) == (
        "test@2",
        ("test@1",),
        "nobody yet",
    )
    assert (
        draft.model_copy(update={"version": 1, "accepts": (), "approval": two_clauses.approval})
        == two_clauses
    )
    comments = [line for line in text.splitlines() if line.startswith("#")]
    assert (
        "# - decision 1, 2026-01-05, Ada: 'L': first: Nobody agrees: \\u202ewhat # is brief? -"
        " x: [y]" in comments
    )
    assert "# - decision 2, 2026-01-05, Ada: tie: It is." in comments
    assert {
        "#     prompt: Question 0?",
        "#     first: A long answer",
        "#     vote: too long",
        "# The clause now reads: Rule brief.",
    } <= set(comments)
    assert yaml.safe_load(text)["version"] == 2
    with pytest.raises(DataError, match="is about test@1, the rubric is now test@2"):
        draft_revision(proposal, draft, (), {})


def test_an_item_names_its_content():
    good = item(votes=(vote(0, "harm"),))
    assert QueueItem.from_json(good.to_json()) == good
    wrong = [
        {"responses": ("No", "A long answer")},
        {"responses": ("No", "No")},
        {"prompt": turns("Another?")},
        {"clauses": ()},
        {"votes": ()},
        {"agreement": 0.4},
    ]
    for change in wrong:
        with pytest.raises(ValidationError):
            QueueItem.model_validate(good.model_dump() | change)


def test_the_name_of_an_item_does_not_depend_on_the_order_of_the_responses():
    assert (
        item_key(turns("q"), ("a", "b"))
        == item_key(turns("q"), ("b", "a"))
        != item_key(turns("q"), ("a", "c"))
    )
    assert chosen_of(item(), "second") == sha256(b"No")


def test_a_damaged_queue_names_file_and_row(tmp_path):
    path = tmp_path / "adjudication_queue.jsonl"
    path.write_bytes(item(1).to_json() + item(2).to_json())
    assert read_queue(path) == (item(1), item(2))
    path.write_bytes(item(1).to_json() + item(2).to_json()[:-20] + b"\n")
    with pytest.raises(DataError, match=r"adjudication_queue.jsonl: row 2"):
        read_queue(path)


@pytest.mark.requirement("S12")
def test_the_order_of_the_rubric_reads_the_clauses_that_votes_name(two_clauses):
    """A vote for one response that names a clause says that the other breaks it; `harm` stands
    before `brief`."""
    votes = (
        vote(0, "harm"),
        vote(1, "brief", "rater-02"),
        vote(1, "brief", "rater-03"),
        vote(None, "harm", "rater-04"),
    )
    assert by_the_order(item(votes=votes), two_clauses) == 0
    turned = Rubric.model_validate(two_clauses.model_dump() | {"priorities": ("brief", "harm")})
    assert by_the_order(item(votes=votes), turned) == 1
    assert by_the_order(item(), two_clauses) is None
    assert (
        by_the_order(item(votes=(vote(0, "harm"), vote(1, "harm", "rater-02"))), two_clauses)
        is None
    )
    assert by_the_order(item(votes=(vote(0, "unknown"),)), two_clauses) is None


@pytest.mark.requirement("S7")
def test_from_disputed_votes_to_a_decided_pair(database, two_clauses, rule, tmp_path):
    """Four prompts on which two people disagree: the queue holds them, four decisions are taken,
    and the next data follow them.

    `first` and `second` make a pair, whose chosen text is the decided one; `tie` and `exclude` set
    both votes aside with that reason.
    """
    events = [
        event(
            f"p {n}",
            "b",
            "a",
            preferred=k,
            annotator=f"rater-{k}",
            clause="harm" if k else None,
            reason="x",
        )
        for n in range(4)
        for k in (0, 1)
    ]
    write_batch(tmp_path / "batch", events, rule.near_duplicates)

    def build(name):
        (tmp_path / name).mkdir()
        current = Adjudications(database).current(two_clauses.label)
        return build_preferences(
            [tmp_path / "batch"], tmp_path / name, two_clauses, rule, 1, (), adjudications=current
        ).counts

    assert (build("before")["pairs"], build("again")["set aside: contradiction"]) == (0, 8)
    queue = read_queue(tmp_path / "before" / "adjudication_queue.jsonl")
    assert sorted(vote.event for one in queue for vote in one.votes) == sorted(
        one.id for one in events
    )
    assert {(one.why, one.agreement, one.clauses, one.responses) for one in queue} == {
        ("contradiction", 0.5, ("harm",), ("a", "b"))
    }
    for one, decision in zip(queue, ("first", "second", "tie", "exclude"), strict=True):
        adjudicate(
            database,
            one,
            two_clauses,
            clause="harm",
            decision=decision,
            by="Ada",
            reason="r",
            proposal_after=9,
            now=NOW,
        )
    counts = build("after")
    assert {
        name: counts[name]
        for name in ("pairs", "set aside: adjudicated: tie", "set aside: adjudicated: exclude")
    } == {
        "pairs": 2,
        "set aside: adjudicated: tie": 2,
        "set aside: adjudicated: exclude": 2,
    }
    pairs = [
        pair
        for name in SPLITS
        for pair in read_records(tmp_path / "after" / f"{name}.jsonl", PreferencePair)
    ]
    assert {(pair.prompt, pair.chosen, pair.rejected) for pair in pairs} == {
        (queue[0].prompt, "a", "b"),
        (queue[1].prompt, "b", "a"),
    }
    assert read_queue(tmp_path / "after" / "adjudication_queue.jsonl") == ()
