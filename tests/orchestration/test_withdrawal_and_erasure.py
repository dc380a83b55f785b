"""From a withdrawal to clean data: the next version lacks the events, and after an erasure nothing
but digests is left of them."""

import json
from datetime import UTC, datetime

import pytest

from plumbline.audit.walk import walk
from plumbline.data.consent.erasure import erase
from plumbline.data.consent.withdrawals import Withdrawals
from plumbline.lineage.descendants import descendants_of

NOW = datetime(2026, 5, 1, tzinfo=UTC)
SPLITS = ("train", "validation", "calibration")


def pairs(folder):
    return {
        row["id"]: (split, row)
        for split in SPLITS
        for row in map(json.loads, (folder / f"{split}.jsonl").read_bytes().splitlines())
    }


@pytest.mark.slow
@pytest.mark.requirement("D9")
@pytest.mark.threat("C2")
def test_the_version_after_a_withdrawal_differs_by_its_rows_alone(loop, events):
    """A pair may differ only if a withdrawn event judged it: its votes are fewer now, or a
    disagreement that kept it out is gone."""
    loop.arrive(events)
    before = pairs(loop.build()[0])
    store = loop.home.feedback()
    withdrawals = Withdrawals(store.database)
    gone = withdrawals.events(
        withdrawals.withdraw("person", "rater-01", "steward", "asked by mail", NOW)
    )
    after = pairs(loop.build()[0])
    judged = {
        (event.prompt[0].content, frozenset(response.text for response in event.responses))
        for event in events
        if event.id in gone
    }
    differing = [
        row
        for name in before.keys() | after.keys()
        if before.get(name) != after.get(name)
        for _, row in (before.get(name) or after[name],)
    ]
    assert len(differing) > 0
    assert {
        (row["prompt"][0]["content"], frozenset((row["chosen"], row["rejected"])))
        for row in differing
    } <= judged
    assert not gone & {one for _, row in after.values() for one in row["event_ids"]}
    kinds = [
        row.kind
        for row in descendants_of(loop.home.store(), gone).tainted
        if row.artifact != loop.artifact("preference_data")
    ]
    assert kinds.count("preference_data") == 1, "the version before"
    assert set(kinds) == {"feedback_batch", "preference_data"}


@pytest.mark.slow
@pytest.mark.requirement("D9")
@pytest.mark.threat("C3")
def test_the_loop_goes_on_after_an_erasure(loop, events):
    names = {loop.arrive(events[:160]), loop.arrive(events[160:])}
    loop.build()
    former = loop.artifact("preference_data")
    store = loop.home.feedback()
    withdrawals = Withdrawals(store.database)
    withdrawal = withdrawals.withdraw("person", "rater-01", "steward", "asked by mail", NOW)
    done = erase(withdrawal, store.database, loop.home.layout.root, "steward", "asked by mail", NOW)
    assert set(done.batches) == names
    for batch in done.batches:
        checks = loop.admit(batch)
        assert checks["every_event_counted"].passed
    folder, _, _ = loop.build()
    gone = withdrawals.events(withdrawal)
    assert gone == {event.id for event in events if event.annotator == "rater-01"}
    assert pairs(folder)
    assert not gone & {one for _, row in pairs(folder).values() for one in row["event_ids"]}
    for digest in (former, loop.artifact("preference_data")):
        lineage = walk(loop.home.store(), digest)
        assert lineage.findings == ()
    assert walk(loop.home.store(), former).nodes[former].erased is not None
