import itertools
import json
from datetime import UTC, datetime, timedelta

import pytest

from plumbline.data.screening.admission import (
    AdmissionCounts,
    Admitted,
    Quarantined,
    ScreenedEvent,
    admit,
    admit_into,
    screen,
)
from plumbline.schema.feedback import Consent, FeedbackEvent, QuarantinedEvent
from plumbline.storage.jsonl import read_records

NOW = datetime(2026, 2, 1, tzinfo=UTC)
PERSONAL = "write to anna@mail.de"


def ending(when):
    return Consent(scope="training", version="c-1", expires=when)


@pytest.mark.requirement("D9")
@pytest.mark.threat("C1")
@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"scope": "evaluation"}, "consent scope"),
        ({"consent": "c-0"}, "consent version"),
        ({"rubric": "test@2"}, "other rubric"),
        ({"second": " \n"}, "empty response"),
        ({"prompt": " "}, "empty prompt"),
        ({"first": "Yes", "second": "Yes\n"}, "same response"),
        ({"prompt": "a <|assistant|> b"}, "control token"),
        ({"first": "ok <|im_end|>"}, "control token"),
        ({"second": "\uff1c|im_start|\uff1eassistant"}, "control token"),
    ],
)
def test_each_fault_is_quarantined_under_its_own_reason(rubric, make_event, fields, reason):
    good, bad = make_event("fine"), make_event(**fields)
    admission = admit([good, bad], rubric, NOW)
    assert admission.accepted == [good]
    assert admission.quarantined == [(bad, (reason,))]
    assert admission.reasons == {reason: 1}


def test_a_conversation_that_ends_with_the_assistant_is_quarantined(rubric, make_event, make_turns):
    event = make_event(make_turns("a", "b"))
    assert admit([event], rubric, NOW).quarantined == [
        (event, ("prompt does not end with the user",))
    ]


def test_all_reasons_are_given_and_counted(rubric, make_event):
    events = [make_event(f"q{n}", "", "", consent="c-0") for n in range(3)]
    admission = admit(events, rubric, NOW)
    assert [reasons for _, reasons in admission.quarantined] == [
        ("consent version", "empty response", "same response")
    ] * 3
    assert admission.reasons == {"consent version": 3, "empty response": 3, "same response": 3}


@pytest.mark.requirement("D9")
@pytest.mark.threat("C1")
def test_consent_ends_at_its_very_time(rubric, make_event):
    event = make_event()
    fields = {
        name: getattr(event, name)
        for name in FeedbackEvent.model_fields
        if name not in ("id", "consent")
    }
    before, at, after = (
        FeedbackEvent.create(consent=ending(NOW + timedelta(seconds=s)), **fields)
        for s in (-1, 0, 1)
    )
    admission = admit([before, at, after], rubric, NOW)
    assert admission.accepted == [after]
    assert admission.reasons == {"consent expired": 2}


@pytest.mark.requirement("S5")
def test_judgments_under_an_accepted_earlier_version_are_admitted(rubric, make_event):
    newer = rubric.model_copy(update={"version": 3, "accepts": ("test@1",)})
    old, older, current = (make_event(rubric=f"test@{version}") for version in (1, 2, 3))
    admission = admit([old, older, current], newer, NOW)
    assert admission.accepted == [old, current]
    assert admission.quarantined == [(older, ("other rubric",))]


@pytest.mark.threat("D6")
def test_tokens_of_the_template_in_use_are_quarantined_and_shown(rubric, make_event):
    event = make_event(first="so <think> hm")
    assert [type(verdict) for verdict in screen([event], rubric, NOW)] == [Admitted]
    (verdict,) = screen([event], rubric, NOW, control_tokens={"<think>"})
    assert isinstance(verdict, Quarantined)
    assert verdict.reasons == ("control token",)
    assert [(finding.kind, finding.field, finding.excerpt) for finding in verdict.findings] == [
        ("control token", "responses[0]", "<think>")
    ]


@pytest.mark.threat("D8")
@pytest.mark.parametrize(
    ("text", "kind"),
    [
        ("a\u202eb", "bidi"),
        ("a\u200bb", "zero-width"),
        ("a\U000e0041", "tag characters"),
        ("<script>", "markup"),
        ("=1+1", "formula"),
    ],
)
def test_hostile_text_is_flagged_where_it_stands_and_never_changed(rubric, make_event, text, kind):
    event = make_event(text, "good", text, reason=text)
    (verdict,) = screen([event], rubric, NOW)
    assert isinstance(verdict, Admitted)
    assert verdict.event is event
    assert [(finding.kind, finding.field) for finding in verdict.findings] == [
        (kind, "prompt[0]"),
        (kind, "responses[1]"),
        (kind, "reason"),
    ]
    assert all(finding.excerpt.isprintable() and finding.excerpt for finding in verdict.findings)


@pytest.mark.slow
@pytest.mark.requirement("D16")
def test_personal_data_are_flagged_quarantined_or_redacted_as_the_rubric_says(rubric, make_event):
    clean, personal = make_event("fine"), make_event("Whom?", PERSONAL, "Nobody", reason=PERSONAL)

    def under(pii):
        return list(screen([clean, personal], rubric.model_copy(update={"pii": pii}), NOW))

    flagged = under("flag")
    assert [verdict.event for verdict in flagged] == [clean, personal]
    assert [(f.kind, f.field, f.count, f.excerpt) for f in flagged[1].findings] == [
        ("personal data: email", "responses[0]", 1, ""),
        ("personal data: email", "reason", 1, ""),
    ]
    quarantined = under("quarantine")[1]
    assert isinstance(quarantined, Quarantined)
    assert quarantined.reasons == ("personal data",)
    admitted, original, replacement = under("redact")
    assert (admitted.event, original.event, original.reasons) == (clean, personal, ("redacted",))
    assert isinstance(replacement, Admitted)
    assert replacement.redacted
    assert replacement.event.redacted_from == personal.id != replacement.event.id
    assert (replacement.event.responses[0].text, replacement.event.reason) == (
        "write to [email]",
        "write to [email]",
    )
    kept = {"id", "responses", "reason", "redacted_from"}
    assert replacement.event.model_dump(exclude=kept) == personal.model_dump(exclude=kept)


@pytest.mark.slow
@pytest.mark.requirement("D16")
def test_a_redaction_that_leaves_no_difference_quarantines_the_event(rubric, make_event):
    event = make_event("Whom?", "anna@mail.de", "ben@mail.de")
    (verdict,) = screen([event], rubric.model_copy(update={"pii": "redact"}), NOW)
    assert isinstance(verdict, Quarantined)
    assert verdict.reasons == ("redacted", "same response")


@pytest.mark.slow
@pytest.mark.requirement("D9")
def test_the_stream_writes_what_it_holds_back_and_the_counts_add_up(rubric, make_event, tmp_path):
    redacting = rubric.model_copy(update={"pii": "redact"})
    events = [
        make_event("a"),
        make_event("b", PERSONAL),
        make_event("c", "=1+1"),
        make_event("d", "", "x"),
        make_event("e", consent="c-0"),
    ]
    counts = AdmissionCounts()
    accepted = list(admit_into(tmp_path, iter(events), redacting, NOW, counts))
    quarantined = list(read_records(tmp_path / "quarantined.jsonl", QuarantinedEvent))
    findings = list(read_records(tmp_path / "findings.jsonl", ScreenedEvent))
    assert counts.facts() == {
        "events": 5,
        "accepted": 3,
        "quarantined": 3,
        "redacted": 1,
        "reasons": {"consent version": 1, "empty response": 1, "redacted": 1},
        "findings": {"formula": 1, "personal data: email": 1},
    }
    assert sorted(
        [event.id for event in accepted if event.redacted_from is None]
        + [item.id for item in quarantined]
    ) == sorted(event.id for event in events)
    assert [event.redacted_from for event in accepted if event.redacted_from] == [events[1].id]
    assert [item.id for item in findings] == [events[1].id, events[2].id]
    assert "anna" not in (tmp_path / "findings.jsonl").read_text()


def test_an_empty_stream_writes_empty_files(rubric, tmp_path):
    counts = AdmissionCounts()
    assert list(admit_into(tmp_path, [], rubric, NOW, counts)) == []
    assert [(tmp_path / name).read_bytes() for name in ("quarantined.jsonl", "findings.jsonl")] == [
        b"",
        b"",
    ]
    assert counts.facts()["events"] == 0


def test_one_event_is_held_at_a_time(rubric, make_event):
    endless = (make_event(f"q{n}") for n in itertools.count())
    assert [
        verdict.event.prompt[0].content
        for verdict in itertools.islice(screen(endless, rubric, NOW), 3)
    ] == ["q0", "q1", "q2"]


def test_findings_are_canonical_rows(rubric, make_event, tmp_path):
    list(admit_into(tmp_path, [make_event("a\u202eb")], rubric, NOW, AdmissionCounts()))
    (row,) = [json.loads(line) for line in (tmp_path / "findings.jsonl").read_bytes().splitlines()]
    assert row["findings"] == [
        {"count": 1, "excerpt": "a\\u{202e}b", "field": "prompt[0]", "kind": "bidi"}
    ]
