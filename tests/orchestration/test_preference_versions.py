"""Versions of the preference data: the same set gives the same bytes, decisions of people take
effect, and a version is held against the one before."""

import json
from datetime import UTC, datetime

import pytest

from plumbline.data.adjudication.decisions import Adjudications, chosen_of
from plumbline.data.adjudication.newest_queue import latest_adjudication_queue
from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.schema.feedback import Comparison, FeedbackEvent

NOW = datetime(2026, 5, 1, tzinfo=UTC)


def rows(folder, name):
    return [json.loads(line) for line in (folder / name).read_bytes().splitlines()]


@pytest.mark.threat("D3")
def test_late_reordered_and_repeated_batches_give_the_same_data(tmp_path, make_loop, events):
    """Two homes get the same events, in another order, in batches of other sizes, one of them with
    a repeated delivery."""
    import dagster as dg

    trees = []
    for name, parts in (
        ("one", (events[:160], events[160:])),
        ("two", (events[240:], events[:80], events[:90], events[80:240])),
    ):
        with dg.DagsterInstance.ephemeral() as instance:
            loop = make_loop(tmp_path / name, instance)
            for part in parts:
                loop.arrive(part)
            trees.append(loop.build()[1].tree)
    assert trees[0] == trees[1]


@pytest.mark.requirement("D9")
@pytest.mark.threat("C2")
def test_the_next_version_lacks_what_was_withdrawn(loop, events):
    loop.arrive(events)
    _, before, _ = loop.build()
    given = sum(event.annotator == "rater-01" for event in events)
    Withdrawals(loop.home.feedback().database).withdraw(
        "person", "rater-01", "steward", "asked by mail", NOW
    )
    folder, after, _ = loop.build()
    assert before.facts["withdrawals"] != after.facts["withdrawals"]
    withdrawn = [
        row["id"]
        for row in rows(folder, "set_aside.jsonl")
        if row["reason"].startswith("withdrawn")
    ]
    assert len(withdrawn) == given > 0
    cited = {
        event
        for name in ("train", "validation", "calibration")
        for pair in rows(folder, f"{name}.jsonl")
        for event in pair["event_ids"]
    }
    assert not cited & set(withdrawn)


def opposed(event):
    """The same judgment by another annotator, turned round."""
    fields = {name: getattr(event, name) for name in FeedbackEvent.model_fields if name != "id"}
    judgment = Comparison(preferred=1 - event.judgment.preferred, strength=event.judgment.strength)
    return FeedbackEvent.create(**fields | {"annotator": "rater-99", "judgment": judgment})


@pytest.mark.requirement("S7")
def test_a_contradiction_waits_in_the_queue_until_a_person_decides(loop, events):
    disputed = next(
        event
        for event in events
        if event.judgment.preferred is not None and event.annotator == "rater-02"
    )
    loop.arrive([*events[:159], opposed(disputed)])
    _, before, _ = loop.build()
    texts = tuple(sorted(response.text for response in disputed.responses))
    queue = latest_adjudication_queue(loop.home.layout)
    (item,) = [one for one in queue if one.prompt == disputed.prompt and one.responses == texts]
    shown = loop.metadata("preference_data")["adjudication queue"].value
    assert item.item in [row["item"] for row in shown] or len(shown) == 10
    database = loop.home.feedback().database
    with database.writing() as connection:
        Adjudications(database).record(
            connection,
            item=item.item,
            rubric=item.rubric,
            clause="refuse-harm",
            decision="first",
            chosen=chosen_of(item, "first"),
            by="steward",
            reason="the first refuses",
            now=NOW,
        )
    folder, after, _ = loop.build()
    (decided,) = rows(folder, "adjudicated.jsonl")
    assert decided["by"] == "steward"
    (pair,) = [
        row
        for name in ("train", "validation", "calibration")
        for row in rows(folder, f"{name}.jsonl")
        if row["id"] == decided["pair"]
    ]
    assert pair["chosen"] == texts[0]
    assert before.facts["adjudications"] != after.facts["adjudications"]
    assert after.facts["counts"]["pairs"] == before.facts["counts"]["pairs"] + 1


@pytest.mark.requirement("D11")
def test_a_version_whose_mix_moved_drifts(loop, events):
    """All 160 events of the first version are English, the second adds as many Spanish ones."""
    loop.arrive([event for event in events if event.context.locale == "en"])
    _, _, first = loop.build()
    assert first["drift"].passed
    assert "no version before" in first["drift"].description
    loop.arrive([event for event in events if event.context.locale == "es"])
    _, artifact, second = loop.build()
    assert not second["drift"].passed
    assert second["drift"].severity.value == "WARN"
    assert "the mix of the slices moved by" in second["drift"].description
    assert artifact.facts["drift"]["longer_wins"]["n"] > 0
    assert "longer response wins" in second["drift"].metadata


@pytest.mark.requirement("D18")
def test_prompts_of_the_deployment_are_compared_where_they_were_recorded(loop, events):
    loop.arrive(events)
    path = loop.home.layout.profile_folder / "deployment_prompts.jsonl"
    path.write_text(
        "".join(
            json.dumps({"prompt": f"write a poem about river number {n}"}) + "\n" for n in range(80)
        )
    )
    _, artifact, checks = loop.build()
    assert artifact.facts["prompt_shift"]["auc"] > 0.9
    assert "training and deployment prompts differ" in checks["drift"].description


@pytest.mark.requirement("D20")
def test_every_kind_of_feedback_says_what_it_feeds(loop, events):
    loop.arrive(events)
    _, artifact, _ = loop.build()
    assert artifact.facts["routes"]["comparison"]["events"] == len(events)
    assert {"ranking", "verdict", "attack"} < artifact.facts["routes"].keys()
