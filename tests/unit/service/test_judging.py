"""Tasks and judgments: blind, in a seeded order, and whole in the event that is stored."""

import json
import math
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime

import pytest

from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.data.store.deliveries import Deliveries
from plumbline.service.blind import shown_order

NOW = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.fixture
def annotator(home):
    """(next task, judge) of one annotator."""

    def annotator(name):
        client, headers = home.client(), home.headers(name, "collect")

        def judge(task, **fields):
            body = {
                "task": task,
                "judgment": {"kind": "comparison", "preferred": 0, "strength": 2},
                "consent": "annotator-1",
            } | fields
            return client.post("/v1/judgments", headers=headers, json=body)

        return (lambda **query: client.get("/v1/tasks/next", headers=headers, params=query)), judge

    return annotator


@pytest.mark.requirement("D7")
@pytest.mark.parametrize("strength", [0, 1, 2, 3])
def test_the_strength_of_a_choice_is_in_the_event(home, annotator, new_task, strength):
    home.tasks.add([new_task()], NOW)
    following, judge = annotator("rater-01")
    shown = following().json()["task"]
    preferred = shown["responses"].index("Rub it with vinegar and salt.")
    answer = judge(
        shown["id"], judgment={"kind": "comparison", "preferred": preferred, "strength": strength}
    )
    assert answer.status_code == 201, answer.text
    [event] = home.events()
    assert event.id == answer.json()["event"]
    assert (event.winner, event.judgment.strength) == ("Rub it with vinegar and salt.", strength)
    assert (event.annotator, event.rubric, event.consent.version, event.consent.scope) == (
        "rater-01",
        "collecting@1",
        "annotator-1",
        "training",
    )
    assert not event.synthetic


@pytest.mark.requirement("D8", "D5")
def test_responses_of_several_policies_and_decoders_stay_with_their_sources(
    home, annotator, new_task
):
    """The task has three responses of three policies, sampled at temperatures 0, 0.7 and 1.4; the
    annotator ranks the texts and sees no source."""
    task = new_task(responses=("one", "two", "three"))
    home.tasks.add([task], NOW)
    following, judge = annotator("rater-01")
    answer = following()
    assert not [
        word
        for word in ("policy", "chatml", "temperature", "decoder", "source")
        if word in answer.text
    ]
    shown = answer.json()["task"]
    order = [
        [shown["responses"].index("two")],
        sorted(shown["responses"].index(text) for text in ("one", "three")),
    ]
    assert judge(task.id, judgment={"kind": "ranking", "order": order}).status_code == 201
    [event] = home.events()
    assert {(r.text, r.source.policy, r.source.decoder.temperature) for r in event.responses} == {
        ("one", "policy-0", 0.0),
        ("two", "policy-1", 0.7),
        ("three", "policy-2", 1.4),
    }
    assert [response.text for response in event.responses] == shown["responses"]
    assert [event.responses[index].text for index in event.judgment.order[0]] == ["two"]
    assert event.provenance == task.provenance


@pytest.mark.requirement("S8")
def test_dimensions_acceptability_clause_and_reason_are_kept(home, annotator, new_task):
    home.tasks.add([new_task()], NOW)
    _, judge = annotator("rater-01")
    ratings = [
        {"response": response, "dimension": dimension, "score": 1 + response + place % 3}
        for response in (0, 1)
        for place, dimension in enumerate(
            ("safe", "helpful", "correct", "creative", "polite", "affirming")
        )
    ]
    answer = judge(
        new_task().id,
        ratings=ratings,
        acceptable=[True, None],
        clause="answer-benign",
        reason="  It answers. ",
    )
    assert answer.status_code == 201, answer.text
    [event] = home.events()
    assert {(r.response, r.dimension, r.score) for r in event.ratings} == {
        (r["response"], r["dimension"], r["score"]) for r in ratings
    }
    assert (event.acceptable, event.clause, event.reason) == (
        (True, None),
        "answer-benign",
        "It answers.",
    )


@pytest.mark.parametrize(
    ("fields", "status", "message"),
    [
        ({"task": "unknown"}, 404, "there is no task unknown"),
        ({"consent": "annotator-0"}, 422, "consent: 'annotator-0' is not the text in force"),
        ({"consent": None}, 422, "consent"),
        ({"clause": "be-funny"}, 422, "clause: 'be-funny' is not a clause of collecting@1"),
        (
            {"judgment": {"kind": "comparison", "preferred": None, "strength": 2}},
            422,
            "strength: is 0 when neither response is better",
        ),
        ({"judgment": {"kind": "comparison", "preferred": 2, "strength": 2}}, 422, "preferred"),
        ({"judgment": {"kind": "comparison", "preferred": 0, "strength": 4}}, 422, "strength"),
        ({"judgment": {"kind": "comparison", "preferred": 0}}, 422, "strength: Field required"),
        ({"judgment": {"kind": "verdict", "desirable": True}}, 422, "judgment"),
        ({"judgment": {"kind": "ranking", "order": [[0]]}}, 422, "a ranking places each"),
        ({"ratings": [{"response": 2, "dimension": "safe", "score": 3}]}, 422, "ratings must name"),
        ({"ratings": [{"response": 0, "dimension": "safe", "score": 6}]}, 422, "ratings.0.score"),
        (
            {"ratings": [{"response": 0, "dimension": "funny", "score": 1}]},
            422,
            "ratings.0.dimension",
        ),
        ({"acceptable": [True]}, 422, "acceptable has 1 entries for 2 responses"),
        ({"reason": "x" * 4001}, 422, "reason"),
        ({"annotator": "somebody-else"}, 422, "annotator: Extra inputs are not permitted"),
    ],
)
def test_a_judgment_that_does_not_fit_is_refused_and_names_the_field(
    home, annotator, new_task, fields, status, message
):
    home.tasks.add([new_task()], NOW)
    _, judge = annotator("rater-01")
    answer = judge(new_task().id, **fields) if "task" not in fields else judge(fields["task"])
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text
    assert home.store.open_events()[0] == 0


def test_a_rubric_that_does_not_rate_a_dimension_refuses_its_ratings(
    home, annotator, new_task, monkeypatch
):
    import plumbline.service.app as app
    from plumbline.schema.rubric import load_rubric

    monkeypatch.setattr(
        app,
        "load_rubric",
        lambda path: load_rubric(path).model_copy(update={"dimensions": ("safe",)}),
    )
    home.tasks.add([new_task()], NOW)
    _, judge = annotator("rater-01")
    answer = judge(new_task().id, ratings=[{"response": 0, "dimension": "polite", "score": 3}])
    assert (answer.status_code, answer.json()["error"]) == (
        422,
        "ratings: collecting@1 does not rate polite, but safe",
    )


def test_a_task_is_judged_once_by_an_annotator_even_when_both_requests_come_at_once(
    home, annotator, new_task
):
    home.tasks.add([new_task()], NOW)
    _, judge = annotator("rater-01")
    with ThreadPoolExecutor(4) as threads:
        answers = list(threads.map(lambda _: judge(new_task().id).status_code, range(8)))
    assert sorted(answers) == [201] + [409] * 7
    assert len(home.events()) == 1
    assert annotator("rater-02")[1](new_task().id).status_code == 201


@pytest.mark.requirement("D9")
@pytest.mark.parametrize(("kind", "subject"), [("person", "rater-01"), ("consent", "annotator-1")])
def test_after_a_withdrawal_nothing_more_is_collected_under_it(
    home, annotator, new_task, kind, subject
):
    home.tasks.add([new_task()], NOW)
    Withdrawals(home.store.database).withdraw(kind, subject, "Jane Doe", "asked for it", NOW)
    answer = annotator("rater-01")[1](new_task().id)
    assert answer.status_code == 409
    assert answer.json()["error"].startswith("this judgment could not be used: withdrawn")
    assert home.store.open_events()[0] == 0
    assert annotator("rater-02")[1](new_task().id).status_code == (201 if kind == "person" else 409)


@pytest.mark.requirement("D9")
def test_what_was_collected_is_admitted_to_training(home, annotator, new_task):
    """The consent version, the rubric and the texts of the page pass every rule that keeps events
    out of training."""
    from plumbline.data.screening.admission import reasons_against
    from plumbline.profile.profile import CONFIGS
    from plumbline.schema.rubric import load_rubric

    home.tasks.add([new_task(), new_task(responses=("one", "two", "three"))], NOW)
    _, judge = annotator("rater-01")
    judge(new_task().id)
    judge(
        new_task(responses=("one", "two", "three")).id,
        judgment={"kind": "ranking", "order": [[0, 1], [2]]},
    )
    events = home.events()
    assert len(events) == 2
    assert [
        reasons_against(event, load_rubric(CONFIGS / "rubrics" / "collecting.yaml"), NOW)
        for event in events
    ] == [(), ()]


def test_an_annotator_is_led_through_all_tasks(home, annotator, new_task):
    home.tasks.add([new_task(f"Question {number}?") for number in range(4)], NOW)
    following, judge = annotator("rater-01")
    first = following().json()["task"]["id"]
    assert following(skip=[first]).json()["task"]["id"] != first
    for judged in range(4):
        answer = following().json()
        assert (answer["judged"], answer["open"]) == (judged, 4 - judged)
        assert judge(answer["task"]["id"]).status_code == 201
    assert following().json() == {"task": None, "judged": 4, "open": 0}


@pytest.mark.requirement("D10")
def test_a_judgment_is_a_delivery_that_names_task_and_annotator(home, annotator, new_task):
    home.tasks.add([new_task()], NOW)
    event = annotator("rater-01")[1](new_task().id).json()["event"]
    delivery = Deliveries(home.store).of_event(event)
    assert (delivery.way, delivery.source, delivery.accepted) == (
        "page",
        f"collect/{new_task().id}/rater-01",
        1,
    )


def test_the_order_depends_on_task_and_annotator_only_and_favours_no_place():
    """Of 2000 annotators, those who see response 0 first are binomial(2000, 1/2): within 5 standard
    deviations of 1000, 112. With three responses each of the 6 orders is binomial(2000, 1/6):
    within 5 standard deviations of 333.3, 83.4.
    """
    names = [f"rater-{number}" for number in range(2000)]
    first = sum(shown_order("task-1", name, 2) == (0, 1) for name in names)
    assert abs(first - 1000) < 5 * math.sqrt(2000) / 2
    orders = Counter(shown_order("task-1", name, 3) for name in names)
    assert len(orders) == 6
    assert max(abs(count - 2000 / 6) for count in orders.values()) < 5 * math.sqrt(
        2000 * (1 / 6) * (5 / 6)
    )
    assert shown_order("task-1", "rater-0", 5) == shown_order("task-1", "rater-0", 5)
    by_task = [shown_order(f"task-{number}", "rater-0", 2) for number in range(200)]
    assert 50 < sum(order == (0, 1) for order in by_task) < 150


def test_the_event_has_the_order_that_was_shown(home, annotator, new_task):
    home.tasks.add([new_task()], NOW)
    for number in range(6):
        following, judge = annotator(f"rater-{number}")
        shown = following().json()["task"]
        judge(shown["id"], judgment={"kind": "comparison", "preferred": 1, "strength": 1})
    events = home.events()
    assert len(events) == 6
    for event in events:
        order = shown_order(new_task().id, event.annotator, 2)
        assert [response.text for response in event.responses] == [
            new_task().responses[index].text for index in order
        ]
        assert event.winner == new_task().responses[order[1]].text
    assert (
        len({event.winner for event in events}) == 2
    )  # the second place is not always the same response


@pytest.mark.threat("D4")
@pytest.mark.parametrize(
    "body",
    [b"", b"{", b'{"task":"a","task":"b"}', b"[]", b'{"task":NaN}', b"\xff\xfe", b"[" * 5000],
)
def test_judgments_are_strict_json(home, body):
    headers = home.headers("rater-01", "collect") | {"Content-Type": "application/json"}
    answer = home.client().post("/v1/judgments", headers=headers, content=body)
    assert answer.status_code == 422
    assert set(answer.json()) == {"error"}


def test_consent_ends_after_the_days_of_its_text(new_task):
    from plumbline.profile.profile import CONFIGS
    from plumbline.schema.rubric import load_rubric
    from plumbline.service.blind import TaskJudgment, event_of
    from plumbline.service.consent_text import ConsentText

    text = ConsentText(version="annotator-1", title="T", text=("x",), days=30)
    given = TaskJudgment.model_validate_json(
        json.dumps(
            {
                "task": new_task().id,
                "judgment": {"kind": "comparison", "preferred": 1, "strength": 1},
                "consent": "annotator-1",
            }
        )
    )
    event = event_of(
        new_task(),
        given,
        "rater-01",
        load_rubric(CONFIGS / "rubrics" / "collecting.yaml"),
        text,
        NOW,
    )
    assert event.consent.expires == datetime(2026, 4, 1, 9, tzinfo=UTC)
