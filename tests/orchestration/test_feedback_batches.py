"""A feedback batch as it is admitted: every event accounted for, its text screened, its annotators
checked, and what is found flagged for a person."""

import json
from datetime import UTC, datetime

import pytest

import assets.feedback
from plumbline.data.screening.flags import Flags
from plumbline.profile.profile import CONFIGS
from plumbline.schema.conversations import Message, Response
from plumbline.schema.feedback import Comparison, FeedbackEvent
from plumbline.schema.rubric import load_rubric
from plumbline.storage.jsonl import read_records


def changed(event, *, prompt=None, first=None, **fields):
    """The event with another prompt or first response, under the id of its new content."""
    values = {
        name: getattr(event, name) for name in FeedbackEvent.model_fields if name != "id"
    } | fields
    if prompt is not None:
        values["prompt"] = (Message(role="user", content=prompt),)
    if first is not None:
        values["responses"] = (
            Response(text=first, source=event.responses[0].source),
            event.responses[1],
        )
    return FeedbackEvent.create(**values)


def handed_in(loop, events):
    """Admit the events as one batch; gives the batch, its checks and the metadata."""
    batch = loop.arrive(events)
    return batch, loop.checks, loop.metadata("feedback", batch)


@pytest.mark.requirement("D16")
def test_personal_data_are_named_by_kind_and_never_copied(loop, events):
    batch, checks, metadata = handed_in(
        loop, [changed(events[0], prompt="mail jane.roe@gmail.com about the kettle"), *events[1:60]]
    )
    assert not checks["personal_data"].passed
    assert checks["personal_data"].description == "personal data: email: 1 events"
    assert checks["every_event_counted"].passed
    assert metadata["quarantined"].value == 0
    shown = json.dumps(
        [str(value) for check in checks.values() for value in check.metadata.values()]
    ) + str(metadata)
    assert "jane.roe" not in shown
    folder, _ = loop.home.store().open(loop.artifact("feedback", batch))
    assert "jane.roe" not in (folder / "findings.jsonl").read_text()


@pytest.mark.requirement("D16")
def test_redacted_events_are_replaced_and_still_add_up(loop, events, monkeypatch):
    policy = load_rubric(CONFIGS / "rubrics/helpful-harmless.yaml").model_copy(
        update={"pii": "redact"}
    )
    monkeypatch.setattr(assets.feedback, "load_rubric", lambda _: policy)
    original = changed(events[0], prompt="mail jane.roe@gmail.com about the kettle")
    batch, checks, metadata = handed_in(loop, [original, *events[1:60]])
    assert checks["every_event_counted"].passed, checks["every_event_counted"].metadata
    assert (
        metadata["events"].value,
        metadata["dagster/row_count"].value,
        metadata["redacted"].value,
    ) == (60, 60, 1)
    folder, _ = loop.home.store().open(loop.artifact("feedback", batch))
    (replacement,) = [
        event
        for event in read_records(folder / "accepted.jsonl", FeedbackEvent)
        if event.redacted_from is not None
    ]
    assert replacement.redacted_from == original.id
    assert "jane.roe" not in (folder / "accepted.jsonl").read_text()


@pytest.mark.threat("D8")
def test_hostile_text_is_shown_escaped_and_kept(loop, events):
    hostile = changed(events[0], first="use \u202evinegar\u202c <script>alert(1)</script>")
    batch, checks, _ = handed_in(loop, [hostile, *events[1:60]])
    assert not checks["hostile_text"].passed
    assert checks["hostile_text"].metadata["failing rows"].value == [
        {"event": hostile.id, "found": ["bidi", "markup"]}
    ]
    folder, _ = loop.home.store().open(loop.artifact("feedback", batch))
    (kept,) = [
        event
        for event in read_records(folder / "accepted.jsonl", FeedbackEvent)
        if event.id == hostile.id
    ]
    assert kept == hostile


@pytest.mark.requirement("D9")
@pytest.mark.threat("C1")
@pytest.mark.threat("D6")
def test_expired_consent_and_control_tokens_are_quarantined(loop, events):
    expired = changed(
        events[0],
        consent=events[0].consent.model_copy(update={"expires": datetime(2026, 2, 1, tzinfo=UTC)}),
    )
    token = changed(events[1], first="yes <|assistant|> no")
    _, checks, metadata = handed_in(loop, [expired, token, *events[2:60]])
    assert metadata["reasons"].value == {"consent expired": 1, "control token": 1}
    assert metadata["quarantined"].value == 2
    assert checks["every_event_counted"].passed


@pytest.mark.threat("P1")
def test_too_few_votes_are_underpowered_and_not_a_pass(loop, events):
    _, checks, _ = handed_in(loop, events[:60])
    assert not checks["annotators"].passed
    assert "underpowered" in checks["annotators"].description
    assert Flags(loop.home.feedback().database).all() == ()


def judged_by_four(events, flipper):
    """Four annotators judge each pair alike, except for one who turns every judgment round."""
    found = []
    for event in events:
        if event.judgment.preferred is not None:
            for name in ("ann", "ben", "cid", flipper):
                preferred = (
                    1 - event.judgment.preferred if name == flipper else event.judgment.preferred
                )
                found.append(
                    changed(
                        event,
                        annotator=name,
                        judgment=Comparison(preferred=preferred, strength=event.judgment.strength),
                    )
                )
    return found


@pytest.mark.threat("P1")
def test_an_annotator_who_turns_judgments_round_is_flagged_and_held_until_a_person_decides(
    loop, events
):
    found = judged_by_four(events[:42], "mallory")
    loop.arrive(found)
    flags = Flags(loop.home.feedback().database)
    (flag,) = flags.all()
    assert (flag.kind, flag.subject, flag.status) == ("annotator agreement", "mallory", "open")
    _, artifact, checks = loop.build(success=False)  # fewer pairs than the suite wants
    assert artifact.facts["counts"]["set aside: flagged annotator"] == len(found) // 4
    assert not checks["annotators_of_all_batches"].passed
    assert "mallory: flagged" in checks["annotators_of_all_batches"].description
    held = artifact.facts["flags"]
    flags.decide(flag.id, "keep", "steward", "the others were wrong", datetime.now(UTC))
    _, released, _ = loop.build(success=False)
    assert "set aside: flagged annotator" not in released.facts["counts"]
    assert released.facts["flags"] != held


@pytest.mark.threat("P3")
def test_one_annotator_who_gives_most_of_a_batch_is_flagged(loop, events):
    loop.arrive([changed(event, annotator="bot") for event in events[:120]] + events[120:150])
    (flag,) = Flags(loop.home.feedback().database).all()
    assert (flag.kind, flag.subject) == ("annotator flooding", "bot")


def test_a_handful_of_events_is_no_flood(loop, events):
    loop.arrive([changed(event, annotator="bot") for event in events[:5]])
    assert Flags(loop.home.feedback().database).all() == ()
