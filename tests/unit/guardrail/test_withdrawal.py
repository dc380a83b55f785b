"""A withdrawal finds the guardrail that learned from the event, and no policy that did not."""

import pytest

from plumbline.guardrail.build import UsedRow
from plumbline.lineage.descendants import descendants_of
from plumbline.records import canonical_json
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import code_identity
from plumbline.storage.jsonl import write_records

EVENT, OTHER = "a" * 40, "b" * 40


@pytest.mark.threat("C2")
def test_a_withdrawn_attack_taints_the_guardrail_and_what_ships_it_but_no_policy(tmp_path):
    """The event is in guardrail.jsonl, which no policy reads, and in the rows of the guardrail: fit
    it again, and decide again."""
    store = ArtifactStore(tmp_path / "store")

    def publish(kind, parents, write):
        with store.staging() as folder:
            write(folder)
            return store.publish(
                folder,
                kind=kind,
                config="sha256:" + "0" * 64,
                code=code_identity(),
                parents=parents,
                facts={"kind": kind},
            )[0]

    def data_files(folder):
        (folder / "guardrail.jsonl").write_bytes(canonical_json({"id": EVENT}))
        (folder / "train.jsonl").write_bytes(canonical_json({"event_ids": [OTHER]}))

    data = publish("preference_data", {}, data_files)
    policy = publish(
        "aligned_policy",
        {"preference_data": data},
        lambda folder: (folder / "weights").write_text("w"),
    )
    rows = [UsedRow(id="c" * 40, part="train", violation=True, events=(EVENT,))]
    guardrail = publish(
        "guardrail",
        {"preference_data": data},
        lambda folder: write_records(folder / "rows.jsonl", rows),
    )
    decision = publish(
        "release_decision",
        {"guardrail": guardrail},
        lambda folder: (folder / "decision.json").write_text("{}"),
    )
    found = {one.artifact: one.action for one in descendants_of(store, [EVENT]).tainted}
    assert found == {data: "rebuild", guardrail: "retrain", decision: "repeat"}
    assert policy in {one.artifact for one in descendants_of(store, [OTHER]).tainted}
