import json
from datetime import UTC, datetime

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.data.store.events import FeedbackStore
from plumbline.records import canonical_json
from plumbline.sandbox.datasets import SandboxOptions, feedback_events
from plumbline.storage.home import HomeLayout
from tests.unit.audit.chain import build, certify_data
from tests.unit.in_memory import add_batch

NOW = datetime(2026, 2, 1, tzinfo=UTC)
EVENTS = sorted(feedback_events(SandboxOptions(pairs=12)), key=lambda event: event.id)
WHO = ("--by", "Ada", "--reason", "asked by mail")


@pytest.fixture
def layout(tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMBLINE_HOME", str(tmp_path / "home"))
    monkeypatch.setenv("PLUMBLINE_PROFILE", "sandbox")
    monkeypatch.delenv("PLUMBLINE_FEEDBACK_URL", raising=False)
    return HomeLayout(tmp_path / "home")


@pytest.fixture
def run(layout):
    return lambda *arguments: CliRunner().invoke(build_app(), list(arguments))


@pytest.fixture
def chain(layout):
    """A released chain whose batch and dataset name the first two events."""
    chain = build(layout.store, batches=0)
    accepted = b"".join(event.to_json() for event in EVENTS[:2]).decode()
    chain.publish(
        "batch-0",
        {"accepted.jsonl": accepted, "quarantined.jsonl": ""},
        kind="feedback_batch",
        facts={"batch": "monday"},
        partition="monday",
    )
    return chain


@pytest.fixture
def store(layout, chain):
    """Pairs of the dataset cite the first two events; models, evals, decision and release descend
    from it as in the chain."""
    train = canonical_json(
        {"event_ids": [event.id for event in EVENTS[:2]], "rubric": "helpful-harmless@1"}
    ).decode()
    splits = {
        "train.jsonl": train,
        "validation.jsonl": "",
        "calibration.jsonl": "",
        "set_aside.jsonl": "",
    }
    chain.publish(
        "preference_data",
        splits,
        parents=("rubric", "eval_vault", ("feedback:monday", "batch-0")),
        facts={"splits": {"train": 1}},
    )
    certify_data(chain, "preference_data")
    weights = {"model/model.safetensors": "weights"}
    chain.publish(
        "reward_model",
        {**weights, "rm": "2"},
        parents=("rubric", "preference_data", "reference_policy"),
    )
    chain.publish(
        "aligned_policy",
        {**weights, "dpo": "2"},
        parents=("rubric", "preference_data", "reference_policy"),
        partition="dpo",
    )
    chain.publish("release", {"release.json": {}}, parents=("aligned_policy",), partition="dpo")
    store = FeedbackStore(layout.feedback_url)
    add_batch(store, "monday", EVENTS, NOW)
    yield store
    store.close()


@pytest.mark.requirement("D9")
@pytest.mark.threat("C2")
def test_a_withdrawal_is_recorded_once_and_lists_what_it_taints(run, store, chain):
    result = run("people", "consent", "withdraw", "--event", EVENTS[0].id, *WHO)
    assert result.exit_code == 0, result.output
    lines = result.stdout.splitlines()
    assert lines[0] == f"withdrawal 1: event {EVENTS[0].id}; recorded"
    assert lines[1] == "1 events in the feedback store are concerned"
    assert (
        f"  feedback_batch[monday] {chain.digests['batch-0'][7:19]}  names 1 of the events" in lines
    )
    assert (
        f"  reward_model {chain.digests['reward_model'][7:19]}"
        in lines[lines.index(next(line for line in lines if line.startswith("retrain: 1."))) :]
    )
    retired = lines[lines.index(next(line for line in lines if line.startswith("retire: 2."))) :]
    assert "cannot unlearn" in retired[0]
    assert f"  aligned_policy[dpo] {chain.digests['aligned_policy'][7:19]}" in retired
    assert (
        "was recorded before"
        in run(
            "people",
            "consent",
            "withdraw",
            "--event",
            EVENTS[0].id,
            "--by",
            "Bob",
            "--reason",
            "again",
        ).stdout
    )
    assert [one.by for one in Withdrawals(store.database).all()] == ["Ada"]
    assert "1: event " in run("people", "consent", "list").stdout


@pytest.mark.threat("C2")
def test_a_trace_of_the_release_names_what_was_withdrawn_since(run, store, chain):
    release = chain.digests["release"]
    before = run("audit", "trace", "release", release)
    assert "withdrawn since" not in before.stdout
    run("people", "consent", "withdraw", "--event", EVENTS[2].id, *WHO)  # in no pair
    assert "withdrawn since" not in run("audit", "trace", "release", release).stdout
    run("people", "consent", "withdraw", "--event", EVENTS[0].id, *WHO)
    after = run("audit", "trace", "release", release)
    assert after.exit_code == before.exit_code
    found = (
        f"consent withdrawn since: event {EVENTS[0].id}, {datetime.now(UTC):%Y-%m-%d} by Ada (1"
        " events of profile sandbox); this artifact descends from them"
    )
    assert f"{found}: retire it (`plumbline people consent show 2`)" in after.stdout
    content = json.loads(run("audit", "trace", "release", release, "--json").stdout)
    assert [(one["withdrawal"]["id"], one["action"]) for one in content["withdrawn_since"]] == [
        (2, "retire")
    ]
    assert "withdrawn since" not in run("audit", "trace", "release", release, "--offline").stdout


def test_a_dry_run_records_nothing_and_says_the_same(run, store):
    dry = json.loads(
        run(
            "people",
            "consent",
            "withdraw",
            "--person",
            EVENTS[0].annotator,
            *WHO,
            "--dry-run",
            "--json",
        ).stdout
    )
    assert Withdrawals(store.database).all() == ()
    real = json.loads(
        run("people", "consent", "withdraw", "--person", EVENTS[0].annotator, *WHO, "--json").stdout
    )
    assert (dry["state"], real["state"]) == ("would be recorded (--dry-run)", "recorded")
    assert (
        json.loads(run("people", "consent", "show", "1", "--json").stdout)["tainted"]
        == real["tainted"]
    )
    assert dry["tainted"] == real["tainted"] != []
    assert set(real["events"]) == {
        event.id for event in EVENTS if event.annotator == EVENTS[0].annotator
    }


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["withdraw", *WHO], "a withdrawal has one subject"),
        (["withdraw", "--person", "a", "--event", "b", *WHO], "a withdrawal has one subject"),
        (
            ["withdraw", "--person", "a", "--by", " ", "--reason", "r"],
            "needs a kind, a subject, a name and a reason",
        ),
        (["erase", "7", *WHO], "withdrawal 7: is not in"),
        (["erase", "7", "--by", " ", "--reason", "r"], "neither may be empty"),
    ],
)
def test_wrong_input_is_explained(run, store, arguments, message):
    result = run("people", "consent", *arguments)
    assert result.exit_code == 2
    assert message in result.stderr


def test_an_unknown_subject_and_an_empty_home_are_said(run, layout):
    assert "nothing to withdraw" in run("people", "consent", "list").stdout
    assert not layout.feedback_db.exists()
    result = run("people", "consent", "withdraw", "--person", "nobody", *WHO)
    assert result.exit_code == 0, result.output
    assert "no event in the feedback store is concerned; check the spelling" in result.stdout
    assert "nothing in" in result.stdout


@pytest.mark.threat("C2")
def test_a_list_that_may_be_incomplete_fails(run, store, chain):
    (chain.folder("preference_data") / "train.jsonl").unlink()
    result = run("people", "consent", "withdraw", "--event", EVENTS[0].id, *WHO)
    assert result.exit_code == 3
    assert "this list may not be complete" in result.stderr


@pytest.mark.threat("C3")
def test_an_erasure_says_what_it_did_and_the_trace_shows_it(run, store, chain):
    run("people", "consent", "withdraw", "--event", EVENTS[0].id, *WHO)
    result = run("people", "consent", "erase", "1", *WHO)
    assert result.exit_code == 0, result.output
    assert "the text of 1 events and of 0 quarantined rows is erased" in result.stdout
    assert (
        "materialize these partitions of feedback again, then preference_data: monday"
        in result.stdout
    )
    assert "text of 1 events erased" in run("people", "consent", "list").stdout
    traced = run("audit", "trace", "dataset", chain.digests["preference_data"], "--offline")
    assert traced.exit_code == 0, traced.output
    assert traced.stdout.count("ERASED") == 2
    assert "asked by mail (Ada, " in traced.stdout
    assert "2 erased and known by their digests only" in " ".join(traced.stdout.split())
