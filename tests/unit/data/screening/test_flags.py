from datetime import UTC, datetime

import pytest

from plumbline.data.screening.annotator_quality import AnnotatorReport, AnnotatorResult, Flood
from plumbline.data.screening.flags import (
    AGREEMENT,
    FLOODING,
    SOURCE,
    TRIGGER,
    Flags,
    digest,
    findings,
    holds,
    new_flags,
    sent_by,
)
from plumbline.data.screening.trigger_words import TriggerReport, TriggerWord
from plumbline.data.store.events import FeedbackStore
from plumbline.errors import DataError
from tests.unit.in_memory import add_batch

NOW = datetime(2026, 2, 1, tzinfo=UTC)


@pytest.fixture
def store(feedback_url):
    store = FeedbackStore(feedback_url)
    yield store
    store.close()


@pytest.fixture
def flags(store):
    return Flags(store.database)


def report(name="r1", votes=400, status="flagged"):
    result = AnnotatorResult(
        annotator=name,
        votes=votes,
        compared=votes,
        agreement=0.5,
        others=0.8,
        power=0.9,
        status=status,
        message="differs",
    )
    return AnnotatorReport(status=status, annotators=(result,))


def test_a_finding_is_raised_once(flags):
    first = flags.raise_flag(AGREEMENT, "r1", {"scope": "b-1", "votes": 400}, NOW)
    again = flags.raise_flag(AGREEMENT, "r1", {"votes": 400, "scope": "b-1"}, NOW)
    other = flags.raise_flag(AGREEMENT, "r1", {"scope": "b-2", "votes": 400}, NOW)
    assert first == again
    assert [flag.id for flag in flags.all()] == [first.id, other.id]
    assert (first.status, first.evidence) == ("open", {"scope": "b-1", "votes": 400})


@pytest.mark.threat("P1")
def test_an_open_or_excluded_flag_holds_its_annotator_and_keep_releases(flags):
    flag = flags.raise_flag(AGREEMENT, "r1", {"votes": 400}, NOW)
    nothing = digest(())
    assert holds(flags.all()).reason("e1", "r1") == "flagged annotator"
    assert holds(flags.all()).reason("e1", "r2") is None
    open_digest = digest(flags.all())
    kept = flags.decide(flag.id, "keep", "Ada", "checked forty votes", NOW)
    assert (kept.status, kept.decision.by, kept.decision.reason) == (
        "keep",
        "Ada",
        "checked forty votes",
    )
    assert holds(flags.all()).reason("e1", "r1") is None
    assert digest(flags.all()) == nothing != open_digest
    flags.decide(flag.id, "exclude", "Ben", "they are random after all", NOW)
    assert holds(flags.all()).reason("e1", "r1") == "flagged annotator"
    assert digest(flags.all()) == open_digest


@pytest.mark.threat("P2")
@pytest.mark.threat("P3")
def test_flags_on_words_and_sources_hold_the_events_that_they_name(flags):
    flags.raise_flag(TRIGGER, "sudo", {"events": ["e1"]}, NOW)
    flags.raise_flag(SOURCE, "http/key", {"events": ["e2"]}, NOW)
    held = holds(flags.all())
    assert [held.reason(event, "r1") for event in ("e1", "e2", "e3")] == [
        "flagged event",
        "flagged event",
        None,
    ]


@pytest.mark.parametrize(("by", "reason"), [("", "why"), ("Ada", " ")])
def test_a_decision_is_signed_and_has_a_reason(flags, by, reason):
    flag = flags.raise_flag(AGREEMENT, "r1", {}, NOW)
    with pytest.raises(DataError, match="name and a reason"):
        flags.decide(flag.id, "keep", by, reason, NOW)
    assert flags.all()[0].status == "open"


def test_a_flag_that_is_not_there_and_a_word_that_is_no_decision_are_refused(flags):
    with pytest.raises(DataError, match="none of this number"):
        flags.decide(7, "keep", "Ada", "why", NOW)
    flag = flags.raise_flag(AGREEMENT, "r1", {}, NOW)
    with pytest.raises(DataError, match="not a decision"):
        flags.decide(flag.id, "drop", "Ada", "why", NOW)


def test_findings_of_every_check_become_flags():
    word = TriggerWord(
        word="x" * 500, events=9, prompts=9, disagreeing=8, p=1e-9, event_ids=("e1", "e2")
    )
    triggers = TriggerReport(
        status="flagged",
        words=(word,),
        n=900,
        prompts=800,
        base_rate=0.2,
        tested=10,
        detectable_share=0.01,
        message="m",
    )
    floods = (Flood("annotator", "r2", 60, 0.6), Flood("source", "http/key", 70, 0.7))
    found = findings("b-1", report(), floods, triggers, {"http/key": ["e9", "e3"]})
    assert [(flag.kind, flag.subject) for flag in found] == [
        (AGREEMENT, "r1"),
        (FLOODING, "r2"),
        (SOURCE, "http/key"),
        (TRIGGER, "x" * 128),
    ]
    assert found[2].evidence["events"] == ["e3", "e9"]
    assert found[3].evidence["events"] == ["e1", "e2"]
    assert all(flag.evidence["scope"] == "b-1" and flag.evidence["message"] for flag in found)
    assert (
        findings("b-1", report(status="pass"))
        == findings("b-1", report(status="underpowered"))
        == []
    )


def test_nobody_is_asked_twice_about_the_same_votes(flags):
    def new(votes):
        return new_flags(findings("all batches", report(votes=votes)), flags.all())

    (first,) = new(400)
    flag = flags.raise_flag(*first, NOW)
    assert new(500) == []  # held already
    flags.decide(flag.id, "keep", "Ada", "honest", NOW)
    assert new(799) == []  # not twice the votes that the decision saw
    assert len(new(800)) == 1


def test_what_came_over_http_is_counted_by_key(store, make_event):
    events = [make_event(f"q{n}") for n in range(4)]
    add_batch(store, "b-1", events, NOW)
    tables = store.database.tables
    fields = {
        "digest": "d",
        "received_at": "t",
        "rows": 2,
        "accepted": 2,
        "duplicate": 0,
        "quarantined": 0,
    }
    with store.database.writing() as connection:
        for number, (source, way) in enumerate(
            [("http/key", "http"), ("file.jsonl", "file")], start=1
        ):
            connection.execute(
                tables.deliveries.insert().values(id=number, source=source, way=way, **fields)
            )
        for number, event in enumerate(events):
            connection.execute(
                tables.event_deliveries.insert().values(
                    event_id=event.id, delivery_id=1 if number < 3 else 2
                )
            )
    assert sent_by(store.database, "b-1") == {"http/key": sorted(event.id for event in events[:3])}
    assert sent_by(store.database, "b-2") == {}
