import json
import random
import shutil

import pytest

from plumbline.audit.walk import walk
from plumbline.errors import ArtifactError, LineageError
from plumbline.lineage.descendants import descendants_of
from plumbline.lineage.tombstones import ErasedTree, erased_file, read_erased, write_erased
from plumbline.schema.identifiers import content_id
from plumbline.storage.artifacts import ArtifactStore
from tests.unit.audit.chain import Chain, build, decide

NOW = "2026-02-01T00:00:00Z"


def rows(items):
    return "".join(json.dumps(item, separators=(",", ":"), sort_keys=True) + "\n" for item in items)


def event(name, redacted_from=None):
    return {
        "id": content_id(name),
        "redacted_from": redacted_from,
        "text": f'quotes "{content_id("e0")}" in its text',
    }


def ids(*names):
    return {content_id(name) for name in names}


def names_of(chain, result):
    by_digest = {digest: name for name, digest in chain.digests.items()}
    return {by_digest[row.artifact]: row.action for row in result.tainted}


@pytest.fixture
def chain(tmp_path):
    """Two batches; a dataset that uses both and one that uses the second only; a released policy of
    the first dataset."""
    chain = Chain(ArtifactStore(tmp_path / "store"))
    chain.publish(
        "one",
        {"accepted.jsonl": rows([event("e1"), event("e2")]), "quarantined.jsonl": ""},
        kind="feedback_batch",
    )
    chain.publish(
        "two",
        {
            "accepted.jsonl": rows([event("e3"), event("e4", content_id("original"))]),
            "quarantined.jsonl": "",
        },
        kind="feedback_batch",
    )
    used = rows([{"id": content_id("p"), "event_ids": [content_id("e1"), content_id("e3")]}])
    chain.publish(
        "both",
        {"train.jsonl": used, "set_aside.jsonl": rows([{"id": content_id("e2"), "reason": "tie"}])},
        kind="preference_data",
        parents=("one", "two"),
    )
    later = rows([{"id": content_id("q"), "event_ids": [content_id("e3"), content_id("e4")]}])
    chain.publish(
        "later",
        {"train.jsonl": later, "set_aside.jsonl": ""},
        kind="preference_data",
        parents=("one", "two"),
    )
    for data in ("both", "later"):
        chain.publish(f"rm-{data}", {"w": data}, kind="reward_model", parents=(data,))
        chain.publish(
            f"policy-{data}", {"v": data}, kind="aligned_policy", parents=(data, f"rm-{data}")
        )
    chain.publish("evals", {"report.json": "{}"}, kind="held_out_evals", parents=("policy-both",))
    chain.digests["held_out_evals"], chain.digests["aligned_policy"] = (
        chain.digests["evals"],
        chain.digests["policy-both"],
    )
    decide(chain, "decision")
    chain.publish("release", {"release.json": "{}"}, parents=("policy-both", "decision"))
    for name in ("held_out_evals", "aligned_policy"):
        del chain.digests[name]
    return chain


@pytest.mark.requirement("D9")
@pytest.mark.threat("C2")
def test_an_event_taints_what_was_made_from_it_and_only_that(chain):
    """e1 stands in batch one and in the first dataset; the second dataset was made with batch one
    among its parents and does not use e1."""
    assert names_of(chain, descendants_of(chain.store, ids("e1"))) == {
        "one": "rebuild",
        "both": "rebuild",
        "rm-both": "retrain",
        "policy-both": "retire",
        "evals": "repeat",
        "decision": "repeat",
        "release": "retire",
    }
    second = names_of(chain, descendants_of(chain.store, ids("e3")))
    assert second.keys() == chain.digests.keys() - {"one"}
    assert (second["policy-later"], second["policy-both"]) == (
        "retrain",
        "retire",
    ), "only one of the two was released"


def test_an_event_that_was_set_aside_taints_no_model(chain):
    assert names_of(chain, descendants_of(chain.store, ids("e2"))) == {
        "one": "rebuild",
        "both": "rebuild",
    }


def test_an_original_taints_what_was_made_from_its_redacted_form(chain):
    result = descendants_of(chain.store, ids("original"))
    assert set(result.events) == ids("original", "e4")
    assert names_of(chain, result) == {
        "two": "rebuild",
        "later": "rebuild",
        "rm-later": "retrain",
        "policy-later": "retrain",
    }


def test_an_id_that_is_only_quoted_in_a_text_taints_nothing(chain):
    result = descendants_of(chain.store, ids("e0"))
    assert (result.tainted, result.unread) == ((), ())


def test_what_cannot_be_read_is_said(chain):
    shutil.rmtree(chain.folder("both"))
    chain.manifest_path("policy-later").write_text("{}")
    result = descendants_of(chain.store, ids("e1"))
    assert names_of(chain, result) == {"one": "rebuild"}
    assert len(result.unread) == 2
    assert any("files of preference_data are missing" in sentence for sentence in result.unread)
    assert any("The manifest was changed" in sentence for sentence in result.unread)


@pytest.mark.parametrize("seed", range(20))
@pytest.mark.requirement("D9")
@pytest.mark.threat("C2")
def test_it_equals_a_recomputation_by_brute_force(tmp_path, seed):
    """Random stores: the recomputation asks for every artifact by itself whether one of its
    ancestors hands one of the events on to it."""
    chance = random.Random(seed)
    chain = Chain(ArtifactStore(tmp_path / "store"))
    events = [f"e{n}" for n in range(12)]
    batches, datasets, models = (
        [f"b{n}" for n in range(4)],
        [f"d{n}" for n in range(5)],
        [f"m{n}" for n in range(8)],
    )
    held = {}
    for name in batches:
        held[name] = chance.sample(events, 4)
        chain.publish(
            name,
            {"accepted.jsonl": rows(event(one) for one in held[name]), "n": name},
            kind="feedback_batch",
        )
    for name in datasets:
        parents = chance.sample(batches, chance.randint(1, 3))
        available = sorted({one for parent in parents for one in held[parent]})
        trained = chance.sample(available, chance.randint(0, 2))
        files = {"train.jsonl": rows([{"event_ids": sorted(ids(*trained))}]), "n": name}
        files["set_aside.jsonl"] = rows(
            {"id": content_id(one), "reason": "r"}
            for one in available
            if one not in trained and chance.random() < 0.5
        )
        chain.publish(name, files, kind="preference_data", parents=parents)
    for number, name in enumerate(models):
        parents = chance.sample(datasets, chance.randint(0, 2)) + chance.sample(
            models[:number], min(number, chance.randint(0, 2))
        )
        chain.publish(
            name,
            {"n": name},
            kind=chance.choice(["reward_model", "aligned_policy", "held_out_evals", "release"]),
            parents=parents,
        )
    asked = ids(*chance.sample(events, 2))

    def named(digest, *files):
        folder = chain.store.root / "trees" / chain.store.manifest(digest).tree[7:]
        return any(
            any(one in line for one in (f'"{i}"' for i in asked))
            for f in files
            if (folder / f).exists()
            for line in (folder / f).read_text().splitlines()
        )

    def hands_on(digest):
        kind = chain.store.manifest(digest).kind
        return kind != "feedback_batch" and (named(digest, "train.jsonl") or receives(digest))

    def receives(digest):
        return any(hands_on(parent) for parent in chain.store.manifest(digest).parents.values())

    expected = {
        digest
        for digest in chain.store.manifests()
        if named(digest, "accepted.jsonl", "train.jsonl", "set_aside.jsonl") or receives(digest)
    }
    found = [row.artifact for row in descendants_of(chain.store, asked).tainted]
    assert set(found) == expected
    assert len(found) == len(set(found))
    place = {digest: number for number, digest in enumerate(found)}
    assert all(
        place[p] < place[d]
        for d in found
        for p in chain.store.manifest(d).parents.values()
        if p in place
    ), "ancestors stand before descendants"


def erased(chain, name, **fields):
    artifact = chain.store.manifest(chain.digests[name])
    given = {
        "tree": artifact.tree,
        "files": artifact.files,
        "cited": {"train.jsonl": sorted(ids("e1", "e3"))},
        "by": "Ada",
        "reason": "asked",
        "erased_at": NOW,
    }
    return ErasedTree.model_validate_json(
        json.dumps(
            {
                **given,
                "files": {n: e.model_dump() for n, e in artifact.files.items()},
                "withdrawal": 1,
                "feedback": "f",
            }
            | fields
        )
    )


@pytest.mark.threat("C3")
def test_an_erased_dataset_still_says_what_descends_from_it(chain):
    before = names_of(chain, descendants_of(chain.store, ids("e3")))
    write_erased(chain.store.root, erased(chain, "both"))
    shutil.rmtree(chain.folder("both"))
    after = descendants_of(chain.store, ids("e3"))
    assert (names_of(chain, after), after.unread) == (before, ())


def test_a_record_of_an_erasure_commits_to_the_files(chain):
    record = erased(chain, "both")
    files = {name: entry.model_dump() for name, entry in record.files.items()}
    files["train.jsonl"]["size"] += 1
    with pytest.raises(ValueError, match="the list of files gives"):
        erased(chain, "both", files=files)
    write_erased(chain.store.root, record)
    assert read_erased(chain.store.root, record.tree) == record
    other = chain.store.manifest(chain.digests["later"]).tree
    assert read_erased(chain.store.root, other) is None
    erased_file(chain.store.root, other).write_bytes(record.to_json())
    with pytest.raises(LineageError, match="The file was moved or renamed"):
        read_erased(chain.store.root, other)


@pytest.mark.threat("C3")
def test_a_lineage_with_an_erased_dataset_verifies_and_says_so(tmp_path):
    chain = build(tmp_path / "store")
    name, tree = "preference_data", chain.store.manifest(chain.digests["preference_data"]).tree
    shutil.copytree(chain.folder(name), tmp_path / "copy")
    write_erased(chain.store.root, erased(chain, name))
    assert walk(chain.store, chain.digests["release"]).nodes[chain.digests[name]].erased is None, (
        "recorded, and not yet removed"
    )
    shutil.rmtree(chain.folder(name))
    lineage = walk(chain.store, chain.digests["release"])
    assert lineage.findings == ()
    assert lineage.nodes[chain.digests[name]].erased == "asked (Ada, 2026-02-01, withdrawal 1)"
    with pytest.raises(ArtifactError, match="these files were erased"):
        chain.store.open(chain.digests[name])
    with pytest.raises(
        ArtifactError, match="were erased, for they held withdrawn text, and do not come back"
    ):
        chain.store.publish_tree(tmp_path / "copy")
    erased_file(chain.store.root, tree).write_text("{}")
    assert any(
        "is not a record of an erasure" in finding.what
        for finding in walk(chain.store, chain.digests["release"]).findings
    )
