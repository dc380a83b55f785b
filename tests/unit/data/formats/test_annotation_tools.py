"""Rows of annotation tools: Argilla and Label Studio."""

from datetime import UTC, datetime

import pytest

from tests.unit.data.formats.imported_rows import USER, one, results, said


def argilla(responses, **fields):
    fields = {"prompt": "Why?", "response_1": "One.", "response_2": "Two."} | fields
    return {
        "id": "r1",
        "fields": fields,
        "metadata": {},
        "suggestions": {"preference": {"value": "response_1", "agent": "m"}},
        "responses": responses,
    }


def answer(value, user="0a-b"):
    return {"value": value, "user_id": user}


def test_every_user_of_an_argilla_record_gives_a_judgment():
    record = argilla(
        {"preference": [answer("response_2"), answer("tie", "1C")], "reason": [answer("shorter")]}
    )
    first, second = results("argilla", record)
    assert said(first) == ([("user", "Why?")], ["One.", "Two."])
    assert [(e.annotator, e.judgment.preferred, e.reason) for e in (first, second)] == [
        ("0a-b", 1, "shorter"),
        ("1c", None, None),
    ]


@pytest.mark.requirement("D6")
@pytest.mark.parametrize(
    ("value", "order"),
    [
        (["b", "a", "c"], ((1,), (0,), (2,))),
        (
            [{"value": "c", "rank": 1}, {"value": "a", "rank": 2}, {"value": "b", "rank": 2}],
            ((2,), (0, 1)),
        ),
    ],
)
def test_an_argilla_ranking_is_one_event(value, order):
    event = one(
        "argilla",
        {
            "fields": {"instruction": [USER], "a": "A", "b": "B", "c": "C"},
            "responses": {"rank": [answer(value)]},
        },
    )
    assert (event.judgment.kind, event.judgment.order) == ("ranking", order)


@pytest.mark.parametrize(
    ("record", "reason"),
    [
        (argilla({}), "no user answered"),
        ({"fields": {}}, "no Argilla record with responses"),
        (argilla({"preference": [answer("response_9")]}), "answer names no response"),
        (
            argilla({"preference": [answer(["response_1"])]}),
            "ranking leaves out a response or names it twice",
        ),
        (
            argilla({"preference": [answer("response_1")], "quality": [answer(5)]}),
            "not one question that decides",
        ),
        (
            argilla({"preference": [answer("response_1")]}, question="Again?"),
            "not one field with the prompt",
        ),
        (argilla({"preference": [answer("response_1")]}, response_2=" "), "empty response"),
        (argilla({"preference": [answer("response_1", "Jane Doe")]}), "invalid annotator"),
    ],
)
def test_defects_of_argilla_records(record, reason):
    assert results("argilla", record) == [reason]


def result(type, value, from_name="pw", to_name="answer1,answer2"):
    return {"id": "x", "from_name": from_name, "to_name": to_name, "type": type, "value": value}


LEFT = result("pairwise", {"selected": "left"})


def task(*results, **annotation):
    annotation = {
        "id": 9,
        "completed_by": 3,
        "was_cancelled": False,
        "created_at": "2024-02-03T04:05:06Z",
        "result": list(results),
    } | annotation
    return {
        "id": 1,
        "data": {"prompt": "Why?", "answer1": "One.", "answer2": "Two."},
        "annotations": [annotation],
        "predictions": [{"result": []}],
    }


def test_a_label_studio_annotation_with_all_its_parts():
    event = one(
        "label-studio",
        task(
            LEFT,
            result("rating", {"rating": 4}, "helpful_1", "answer1"),
            result("rating", {"rating": 2}, "safe", "answer2"),
            result("choices", {"choices": ["No"]}, "acceptable", "answer2"),
            result("textarea", {"text": ["clearer", "kinder"]}, "why", "answer1"),
            completed_by={"id": 7, "email": "jane@example.org", "first_name": "Jane"},
        ),
    )
    assert said(event) == ([("user", "Why?")], ["One.", "Two."])
    assert (event.judgment.preferred, event.annotator, event.reason) == (
        0,
        "label-studio-7",
        "clearer\nkinder",
    )
    assert [(r.response, r.dimension, r.score) for r in event.ratings] == [
        (0, "helpful", 4),
        (1, "safe", 2),
    ]
    assert (event.acceptable, event.time) == (
        (None, False),
        datetime(2024, 2, 3, 4, 5, 6, tzinfo=UTC),
    )
    assert b"jane" not in event.to_json().lower()


def test_label_studio_ties_and_several_annotators():
    both = task(LEFT)
    both["annotations"].append(
        both["annotations"][0]
        | {
            "completed_by": 4,
            "result": [result("choices", {"choices": ["Tie"]})],
        }
    )
    assert [(e.annotator, e.judgment.preferred) for e in results("label-studio", both)] == [
        ("label-studio-3", 0),
        ("label-studio-4", None),
    ]


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        ({"data": {}}, "no Label Studio task with annotations"),
        (task() | {"annotations": []}, "nobody annotated"),
        (task(LEFT, was_cancelled=True), "annotation was cancelled"),
        (task(), "annotation has no result"),
        (task(LEFT, LEFT), "not one result that compares two responses"),
        (task(result("pairwise", {"selected": "up"})), "comparison selects no response"),
        (
            task(result("pairwise", {"selected": "left"}, to_name="a,b")),
            "a is missing or not a string",
        ),
        (
            task(LEFT, result("rating", {"rating": 4}, "colour", "answer1")),
            "result is not understood",
        ),
        (task(LEFT, result("rating", {"rating": 9}, "safe", "answer1")), "invalid score"),
        (task(LEFT, completed_by="jane@example.org"), "annotation names no account"),
        (task(LEFT, created_at="yesterday"), "created_at is not ISO 8601"),
    ],
)
def test_defects_of_label_studio_tasks(row, reason):
    assert results("label-studio", row) == [reason]
