"""Taint over the files that the data plane really writes."""

import pytest

from plumbline.data.batch_index.index import write_batch
from plumbline.data.preferences.build import build_preferences
from plumbline.lineage.descendants import descendants_of
from plumbline.records import sha256
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import CodeIdentity
from plumbline.storage.jsonl import read_records

CODE = CodeIdentity(commit="0" * 40, dirty=False, source=sha256(b"source"), packages={})


def publish(store, kind, parents, write):
    with store.staging() as folder:
        write(folder)
        return store.publish(
            folder, kind=kind, config=sha256(b"p"), code=CODE, parents=parents, facts={}
        )[0]


@pytest.mark.requirement("D9")
@pytest.mark.threat("C2")
def test_each_event_taints_its_batch_and_a_model_only_if_a_pair_cites_it(
    tmp_path, make_event, rubric, rule
):
    """40 prompts judged twice: every fourth is disputed and set aside, and every fifth event of the
    second batch replaces one that was redacted."""
    store = ArtifactStore(tmp_path)
    first = [make_event(f"Question {n}?", f"good {n}", f"bad {n}") for n in range(40)]
    second = [
        make_event(
            f"Question {n}?",
            f"good {n}",
            f"bad {n}",
            preferred=1 if n % 4 == 0 else 0,
            annotator="rater-02",
            redacted_from=sha256(b"%d" % n)[7:47] if n % 5 == 0 else None,
        )
        for n in range(40)
    ]
    batches = [
        publish(store, "feedback_batch", {}, lambda f, e=e: write_batch(f, e, rule.near_duplicates))
        for e in (first, second)
    ]
    folders = [store.open(digest)[0] for digest in batches]
    parents = {f"feedback:{number}": digest for number, digest in enumerate(batches)}
    data = publish(
        store,
        "preference_data",
        parents,
        lambda folder: build_preferences(folders, folder, rubric, rule, 0, []),
    )
    model = publish(
        store,
        "reward_model",
        {"preference_data": data},
        lambda folder: (folder / "weights").write_bytes(b"w"),
    )
    folder = store.open(data)[0]
    cited = {
        one
        for split in ("train", "validation", "calibration")
        for pair in read_records(folder / f"{split}.jsonl", PreferencePair)
        for one in pair.event_ids
    }
    assert 0 < len(cited) < 80
    for batch, events in zip(batches, (first, second), strict=True):
        for event in events:
            expected = {batch, data, *([model] if event.id in cited else [])}
            assert {row.artifact for row in descendants_of(store, [event.id]).tainted} == expected
            if event.redacted_from:
                assert {
                    row.artifact for row in descendants_of(store, [event.redacted_from]).tainted
                } == expected
