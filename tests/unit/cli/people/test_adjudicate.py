"""`plumbline people adjudicate` and `plumbline profile rubric proposals` on a store with preference
data and a feedback database."""

import json
import os

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.data.adjudication.decisions import QueueItem, VoteView, item_key
from plumbline.data.adjudication.newest_queue import latest_adjudication_queue
from plumbline.lineage.materializations import materialization_file
from plumbline.profile.profile import CONFIGS, load_profile
from plumbline.schema.conversations import Message
from plumbline.schema.identifiers import content_id
from plumbline.schema.rubric import load_rubric
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout
from tests.unit.audit.chain import Chain


def vote(preferred, clause=None, annotator="rater-01", reason=None, strength=1):
    event = content_id([annotator, preferred, clause])
    return VoteView(
        event=event,
        annotator=annotator,
        preferred=preferred,
        strength=strength,
        clause=clause,
        reason=reason,
        rubric="helpful-harmless@1",
    )


def item(
    number,
    *votes,
    responses=("Answer one", "Answer two"),
    agreement=0.5,
    rubric="helpful-harmless@1",
):
    votes = votes or (vote(0), vote(1, annotator="rater-02"))
    prompt = (Message(role="user", content=f"Question {number}?"),)
    return QueueItem(
        item=item_key(prompt, responses),
        rubric=rubric,
        prompt=prompt,
        responses=responses,
        votes=votes,
        agreement=agreement,
        clauses=tuple(sorted({v.clause for v in votes if v.clause})),
        why="contradiction" if agreement == 0.5 else "low agreement",
    )


ITEMS = [
    item(
        0,
        vote(0, "be-brief", reason="shorter"),
        vote(1, "refuse-harm", "rater-02", "it is \x1b[31mharm\u202e"),
    ),
    item(1, agreement=0.55),
    *(item(number) for number in range(2, 8)),
]


@pytest.fixture
def home(tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMBLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLUMBLINE_PROFILE", "sandbox")
    return HomeLayout(tmp_path / "home", "sandbox")


@pytest.fixture
def chain(home):
    return Chain(ArtifactStore(home.store))


def publish(chain, name, items, config=None, **fields):
    rows = "".join(one.to_json().decode() for one in sorted(items, key=lambda one: one.item))
    files = {"train.jsonl": name, "adjudication_queue.jsonl": rows}
    return chain.publish(
        name,
        files,
        kind="preference_data",
        config=config or load_profile("sandbox").digest(),
        **fields,
    )


@pytest.fixture
def data(chain):
    publish(chain, "data", ITEMS)
    return chain


def run(*arguments):
    return CliRunner().invoke(build_app(), [str(argument) for argument in arguments])


def decide(number, choose="first", clause="be-brief", by="Ada", reason="Because."):
    return run(
        "people",
        "adjudicate",
        "decide",
        ITEMS[number].item[7:19],
        "--choose",
        choose,
        "--clause",
        clause,
        "--by",
        by,
        "--reason",
        reason,
    )


@pytest.mark.requirement("S7")
def test_the_queue_is_listed_until_it_is_decided(data):
    result = run("people", "adjudicate", "list")
    assert result.exit_code == 0, result.output
    assert "8 of 8 items wait for a decision under helpful-harmless@1" in result.stdout
    assert (
        f"  {ITEMS[0].item[7:19]}  contradiction, 2 votes, be-brief, refuse-harm: Question 0?"
        in result.stdout.splitlines()
    )
    assert ITEMS[1].item[7:19] in result.stdout.splitlines()[-1]  # the least disputed comes last
    done = decide(0)
    assert done.exit_code == 0, done.output
    assert (
        "decision 1: first on be-brief by Ada; materialize preference_data to apply it"
        in done.stdout
    )
    result = run("people", "adjudicate", "list")
    assert "7 of 8 items wait" in result.stdout
    assert ITEMS[0].item[7:19] not in result.stdout
    assert (
        f"{ITEMS[0].item[7:19]}  first by Ada, 2 votes"
        in run("people", "adjudicate", "list", "--all").stdout
    )
    assert len(json.loads(run("people", "adjudicate", "list", "--json").stdout)) == 7


@pytest.mark.requirement("S7")
@pytest.mark.requirement("S12")
def test_an_item_is_shown_with_votes_clauses_and_the_order_of_the_rubric(data):
    result = run("people", "adjudicate", "show", ITEMS[0].item)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert {
        "user:",
        "  Question 0?",
        "first response:",
        "  Answer one",
        "second response:",
        "  Answer two",
    } <= set(lines)
    assert "  rater-01: first (strength 1, be-brief): shorter" in lines
    assert "  rater-02: second (strength 1, refuse-harm): it is \\x1b[31mharm\\u202e" in lines
    rubric = load_rubric(CONFIGS / "rubrics" / "helpful-harmless.yaml")
    assert f"  1. refuse-harm: {rubric.clauses[0].name}  (named)" in lines
    assert (
        "by the rubric's order: the second response" in lines
    )  # the second is said to keep the stronger clause
    assert not any(line.startswith("decided") for line in lines)
    decide(0, "tie")
    assert (
        "decided: tie on be-brief by Ada"
        in run("people", "adjudicate", "show", ITEMS[0].item[7:19]).stdout
    )


@pytest.mark.requirement("S12")
def test_the_order_can_be_asked_about_what_the_responses_break(data):
    broken = (
        "--first-breaks",
        "be-brief",
        "--first-breaks",
        "be-correct",
        "--second-breaks",
        "answer-benign",
    )
    assert (
        "by the rubric's order: the first response"
        in run("people", "adjudicate", "show", ITEMS[2].item, *broken).stdout
    )
    assert (
        "no clause decides between them"
        in run("people", "adjudicate", "show", ITEMS[2].item).stdout
    )
    result = run("people", "adjudicate", "show", ITEMS[2].item, "--first-breaks", "nothing")
    assert (result.exit_code, "has no clause 'nothing'" in result.stderr) == (2, True)


@pytest.mark.requirement("S12")
def test_a_decision_against_the_order_is_taken_with_a_note(data):
    result = decide(0, "first", "be-brief")
    assert (
        result.exit_code,
        "note: by the rubric's order: the second response" in result.stderr,
    ) == (0, True)
    assert decide(0, "second", "refuse-harm").stderr == ""


@pytest.mark.requirement("S7")
def test_wrong_decisions_are_refused_without_a_traceback(data):
    cases = {
        "'zz' is not the name of an item": run("people", "adjudicate", "show", "zz"),
        "is not in the queue of the newest preference data": run(
            "people", "adjudicate", "show", "000000000000"
        ),
        "has no clause 'profit'": decide(0, clause="profit"),
        "the reason is empty": decide(0, reason="  "),
        "the name is empty": decide(0, by=""),
    }
    for message, result in cases.items():
        assert (result.exit_code, message in result.stderr, "Traceback" in result.output) == (
            2,
            True,
            False,
        ), result.output
    assert decide(0, "third").exit_code == 2
    assert "8 of 8 items wait" in run("people", "adjudicate", "list").stdout


@pytest.mark.requirement("S7")
def test_five_decisions_on_one_clause_open_a_proposal_that_is_drafted_and_closed(data, tmp_path):
    needed = load_profile("sandbox").review.proposal_after
    results = [decide(number) for number in range(needed)]
    assert "proposal" not in results[-2].stdout
    assert (
        f"proposal 1: {needed} decisions on be-brief; see `plumbline profile rubric proposals draft"
        " 1`" in results[-1].stdout
    )
    assert (
        f"1  helpful-harmless@1 be-brief: {needed} decisions"
        in run("profile", "rubric", "proposals", "list").stdout
    )
    draft = tmp_path / "draft.yaml"
    assert "# - decision 1" in run("profile", "rubric", "proposals", "draft", 1).stdout
    assert run("profile", "rubric", "proposals", "draft", 1, "--output", draft).exit_code == 0
    assert "# " in draft.read_text()
    assert "Question 0?" in draft.read_text()
    assert run("profile", "rubric", "check", draft).stdout.startswith("helpful-harmless@2: valid")
    accepted = run(
        "profile", "rubric", "proposals", "accept", 1, "--by", "Grace", "--reason", "Agreed"
    )
    assert "proposal 1 on helpful-harmless@1 be-brief: accepted by Grace" in accepted.stdout
    again = run("profile", "rubric", "proposals", "decline", 1, "--by", "Grace", "--reason", "No")
    assert (again.exit_code, "was accepted by Grace" in again.stderr) == (2, True)
    assert "accepted by Grace" in run("profile", "rubric", "proposals", "list").stdout


def test_without_feedback_there_are_no_proposals(home):
    result = run("profile", "rubric", "proposals", "list")
    assert (result.exit_code, "no proposal yet for profile sandbox" in result.stdout) == (0, True)
    assert not home.feedback_db.exists()
    assert run("profile", "rubric", "proposals", "draft", 1).exit_code == 2


def test_the_newest_data_of_this_profile_are_read(data, home):
    publish(data, "other", ITEMS[:1], config=load_profile("sandbox-one-language").digest())
    assert len(latest_adjudication_queue(home)) == len(ITEMS)
    publish(data, "newer", ITEMS[:2])
    for name, age in (
        ("data", 10),
        ("other", 0),
        ("newer", 5),
    ):  # what counts is when a run recorded them
        time = 2_000_000_000 - age
        os.utime(materialization_file(home.store, data.digests[name], f"run-{name}"), (time, time))
    assert len(latest_adjudication_queue(home)) == 2
    os.utime(
        materialization_file(home.store, data.digests["data"], "run-data"),
        (2_000_000_000, 2_000_000_000),
    )
    assert len(latest_adjudication_queue(home)) == len(ITEMS)


def test_no_data_data_without_a_queue_and_changed_data_are_refused(chain, home):
    assert (
        "no run made preference_data under the profile as it is now"
        in run("people", "adjudicate", "list").stderr
    )
    chain.publish(
        "old", {"train.jsonl": "t"}, kind="preference_data", config=load_profile("sandbox").digest()
    )
    assert "has no adjudication_queue.jsonl" in run("people", "adjudicate", "list").stderr
    publish(chain, "data", ITEMS)
    path = chain.folder("data") / "adjudication_queue.jsonl"
    path.write_text(path.read_text().replace("Question 0?", "Question 9?"))
    time = 2_000_000_000
    os.utime(materialization_file(home.store, chain.digests["data"], "run-data"), (time, time))
    result = run("people", "adjudicate", "list")
    assert (
        result.exit_code,
        "restore it, or materialize preference_data again" in result.stderr,
    ) == (2, True)
