"""Events over HTTP."""

import json
from datetime import UTC, datetime

import pytest

from plumbline.data.store.deliveries import Deliveries
from plumbline.sandbox.datasets import SandboxOptions, feedback_events
from plumbline.schema.feedback import FeedbackEvent
from plumbline.service.limits import Limits

EVENTS = [json.loads(event.to_json()) for event in feedback_events(SandboxOptions(pairs=6))]


@pytest.fixture
def send(home):
    client, headers = (
        home.client(),
        home.headers("sender-1", "submit") | {"Content-Type": "application/json"},
    )

    def send(body):
        return client.post(
            "/v1/events",
            headers=headers,
            content=body if isinstance(body, bytes) else json.dumps(body).encode(),
        )

    return send


def counts(answer):
    assert answer.status_code == 200, answer.text
    content = answer.json()
    assert (
        content["rows"]
        == content["accepted"] + content["duplicate"] + content["quarantined"]
        == len(content["results"])
    )
    assert [result["row"] for result in content["results"]] == list(range(1, content["rows"] + 1))
    return content["accepted"], content["duplicate"], content["quarantined"]


@pytest.mark.threat("D2")
def test_events_are_accepted_once(send, home):
    assert counts(send(EVENTS[:3])) == (3, 0, 0)
    assert counts(send(EVENTS[:3])) == (0, 3, 0)
    answer = send(EVENTS[1:4])
    assert counts(answer) == (1, 2, 0)
    assert answer.json()["results"] == [
        {"row": 1, "event": EVENTS[1]["id"], "result": "duplicate", "reason": None},
        {"row": 2, "event": EVENTS[2]["id"], "result": "duplicate", "reason": None},
        {"row": 3, "event": EVENTS[3]["id"], "result": "accepted", "reason": None},
    ]
    assert counts(send(EVENTS[4])) == (1, 0, 0)
    assert {event.id for event in home.events()} == {event["id"] for event in EVENTS[:5]}


def test_an_event_may_leave_out_its_id(send, home):
    without = {name: value for name, value in EVENTS[0].items() if name != "id"}
    answer = send([without, EVENTS[0]])
    assert counts(answer) == (1, 1, 0)
    assert [result["event"] for result in answer.json()["results"]] == [EVENTS[0]["id"]] * 2
    assert home.events() == [FeedbackEvent.model_validate_json(json.dumps(EVENTS[0]))]


@pytest.mark.threat("D4")
@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (b'{"a":1,"a":2}', "stands twice"),
        (b'{"a":NaN}', "out of range"),
        (b'{"a":1e999}', "out of range"),
        (b'{"a":"\\ud800"}', "surrogate"),
        (b'{"a":"\xff"}', "not UTF-8"),
        (b"[" * 100 + b"]" * 100, "nested too deeply"),
        (b"7", ""),
        (json.dumps(EVENTS[2] | {"id": "0" * 40}).encode(), "id is not the digest of the content"),
        (json.dumps(EVENTS[2] | {"chat_template_kwargs": {}}).encode(), "chat_template_kwargs"),
        (json.dumps({**EVENTS[2], "id": None, "annotator": "Jane Doe"}).encode(), ""),
    ],
)
def test_a_bad_row_is_quarantined_with_its_reason_and_the_others_are_kept(send, home, row, reason):
    body = (
        b"["
        + json.dumps(EVENTS[0]).encode()
        + b","
        + row
        + b","
        + json.dumps(EVENTS[1]).encode()
        + b"]"
    )
    answer = send(body)
    assert counts(answer) == (2, 0, 1)
    assert reason in answer.json()["results"][1]["reason"]
    [quarantined] = Deliveries(home.store).quarantined()
    assert (quarantined.row, quarantined.reason, quarantined.body) == (
        2,
        answer.json()["results"][1]["reason"],
        row,
    )


def test_a_body_that_is_not_closed_is_refused_whole(send, home):
    answer = send(json.dumps(EVENTS[:2]).encode()[:-5])
    assert answer.status_code == 400
    assert home.store.open_events()[0] == 0
    assert Deliveries(home.store).history() == ()


@pytest.mark.requirement("D10")
def test_who_sent_an_event_and_when_is_logged(send, home):
    send(EVENTS[:2])
    delivery = Deliveries(home.store).of_event(EVENTS[1]["id"])
    assert (delivery.source, delivery.way, delivery.rows, delivery.accepted) == (
        "http/sender-1",
        "http",
        2,
        2,
    )
    assert (
        datetime(2026, 3, 2, 9, tzinfo=UTC)
        < delivery.received_at
        < datetime(2026, 3, 2, 10, tzinfo=UTC)
    )


def test_too_many_events_in_one_request_are_refused(home):
    client = home.client(Limits(events=2))
    answer = client.post("/v1/events", headers=home.headers("sender-1", "submit"), json=EVENTS[:3])
    assert (answer.status_code, answer.json()["error"]) == (
        413,
        "3 events in one request; send at most 2",
    )
    assert home.store.open_events()[0] == 0


def test_the_status_counts_what_waits(send, home, new_task):
    home.tasks.add([new_task("one?"), new_task("two?")], datetime.now(UTC))
    send(EVENTS[:3])
    status = home.client().get("/v1/status", headers=home.headers("watcher", "read")).json()
    assert (status["open_events"], status["batches"], status["tasks"]) == (3, 0, {"0": 2})
    assert (status["profile"], status["rubric"], status["consent"]) == (
        "collecting",
        "collecting@1",
        "annotator-1",
    )
