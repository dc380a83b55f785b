"""Adjudication over HTTP: the queue of the newest preference data, and signed decisions."""

import pytest

from plumbline.data.adjudication.decisions import Adjudications
from plumbline.data.adjudication.rubric_revisions import Proposals
from plumbline.records import sha256


@pytest.fixture
def client(home):
    client = home.client()
    client.headers.update(home.headers("Jane Doe", "adjudicate"))
    return client


@pytest.mark.requirement("S7")
def test_a_decision_is_signed_with_the_name_of_the_key_and_leaves_the_queue(home, client, new_item):
    items = [new_item("How do I clean brass?"), new_item("How do I clean tin?")]
    home.publish_queue(items)
    answer = client.get("/v1/adjudications").json()
    assert (answer["rubric"], answer["open_in_all"], answer["decided"]) == ("collecting@1", 2, [])
    assert {one["item"]["item"] for one in answer["open"]} == {item.item for item in items}
    body = {
        "item": items[0].item,
        "clause": "answer-benign",
        "decision": "second",
        "reason": "It answers a benign request.",
    }
    decided = client.post("/v1/adjudications", json=body)
    assert decided.status_code == 201, decided.text
    [kept] = Adjudications(home.store.database).all()
    assert (kept.by, kept.reason, kept.clause, kept.decision) == (
        "Jane Doe",
        "It answers a benign request.",
        "answer-benign",
        "second",
    )
    assert kept.chosen == sha256(items[0].responses[1].encode())
    answer = client.get("/v1/adjudications").json()
    assert [one["item"]["item"] for one in answer["open"]] == [items[1].item]
    assert [one["item"] for one in answer["decided"]] == [items[0].item]


def test_a_later_decision_takes_the_place_of_an_earlier_one_and_both_are_kept(
    home, client, new_item
):
    item = new_item()
    home.publish_queue([item])
    for decision in ("first", "exclude"):
        body = {"item": item.item, "clause": "refuse-harm", "decision": decision, "reason": "r"}
        assert client.post("/v1/adjudications", json=body).status_code == 201
    adjudications = Adjudications(home.store.database)
    assert [one.decision for one in adjudications.all()] == ["first", "exclude"]
    assert adjudications.current("collecting@1")[item.item].decision == "exclude"


@pytest.mark.requirement("S7")
def test_enough_decisions_on_a_clause_open_one_proposal(home, client, new_item):
    after = home.profile.review.proposal_after
    items = [new_item(f"Question {number}?") for number in range(after + 1)]
    home.publish_queue(items)
    opened = []
    for item in items:
        body = {"item": item.item, "clause": "answer-benign", "decision": "tie", "reason": "r"}
        opened.append(len(client.post("/v1/adjudications", json=body).json()["proposals"]))
    assert opened == [0] * (after - 1) + [1, 0]
    [proposal] = Proposals(home.store.database).all()
    assert (proposal.clause, proposal.status, len(proposal.adjudications)) == (
        "answer-benign",
        "open",
        after,
    )


@pytest.mark.parametrize(
    ("changed", "status", "message"),
    [
        ({"item": "sha256:" + "0" * 64}, 404, "is not in the adjudication queue"),
        ({"clause": "be-funny"}, 422, "be-funny"),
        ({"decision": "third"}, 422, "decision"),
        ({"reason": ""}, 422, "reason"),
        ({"reason": "   "}, 422, "reason"),
        ({"by": "Somebody Else"}, 422, "by: Extra inputs are not permitted"),
    ],
)
def test_a_decision_that_does_not_fit_is_refused(home, client, new_item, changed, status, message):
    home.publish_queue([new_item()])
    body = {
        "item": new_item().item,
        "clause": "refuse-harm",
        "decision": "first",
        "reason": "r",
    } | changed
    answer = client.post("/v1/adjudications", json=body)
    assert (answer.status_code, message in answer.json()["error"]) == (status, True), answer.text
    assert Adjudications(home.store.database).all() == ()


def test_without_preference_data_the_queue_says_what_to_do(client):
    answer = client.get("/v1/adjudications")
    assert answer.status_code == 404
    assert "no run made preference_data" in answer.json()["error"]


def test_a_changed_queue_is_refused(home, client, new_item):
    home.publish_queue([new_item()])
    [path] = (home.layout.store / "trees").rglob("adjudication_queue.jsonl")
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"vinegar", b"vinegat"))
    answer = client.get("/v1/adjudications")
    assert answer.status_code == 409
    assert str(path) in answer.json()["error"]


def test_the_order_of_the_rubric_is_shown(home, client, new_item):
    """One vote says that the first response breaks nothing under `answer-benign`, the other names
    `refuse-harm`: the answer carries what `by_the_order` says, for the person to see beside the
    votes.
    """
    from plumbline.data.adjudication.decisions import by_the_order
    from plumbline.profile.profile import CONFIGS
    from plumbline.schema.rubric import load_rubric

    home.publish_queue([new_item()])
    [shown] = client.get("/v1/adjudications").json()["open"]
    assert (
        shown["by_the_order"]
        == by_the_order(new_item(), load_rubric(CONFIGS / "rubrics" / "collecting.yaml"))
        is not None
    )


def test_readers_see_the_queue_and_decide_nothing(home, new_item):
    home.publish_queue([new_item()])
    client = home.client()
    client.headers.update(home.headers("watcher", "read"))
    assert client.get("/v1/adjudications").status_code == 200
    body = {"item": new_item().item, "clause": "refuse-harm", "decision": "first", "reason": "r"}
    assert client.post("/v1/adjudications", json=body).status_code == 403
