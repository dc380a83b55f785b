"""The walk back from a model or a release finds every byte, manifest and parent that changed."""

import hashlib
import json
import os

import pytest

from plumbline.audit.tree_bytes import dvc_version
from plumbline.audit.walk import walk
from plumbline.lineage.materializations import materialization_file, write_materialization
from plumbline.records import sha256
from plumbline.storage.artifacts import ArtifactStore, hash_tree, tree_digest, write_atomically
from tests.unit.audit.chain import Chain
from tests.unit.audit.conftest import findings


@pytest.mark.requirement("D4")
def test_every_artifact_downstream_names_the_exact_version_of_the_data(tmp_path):
    """One other letter in one batch: everything that descends from it has another digest, because
    parents are named by digest, and nothing else has."""
    one, other = Chain(ArtifactStore(tmp_path / "one")), Chain(ArtifactStore(tmp_path / "other"))
    for chain, text in ((one, "a"), (other, "b")):
        chain.publish("batch", {"accepted.jsonl": text}, kind="feedback_batch")
        chain.publish("demonstrations", {"demonstrations.jsonl": "d"})
        chain.publish("preference_data", {"train.jsonl": "t"}, parents=("batch",))
        chain.publish("reference_policy", {"w": "r"}, parents=("demonstrations",))
        chain.publish("reward_model", {"w": "m"}, parents=("preference_data", "reference_policy"))
        chain.publish("aligned_policy", {"w": "p"}, parents=("preference_data", "reward_model"))
        chain.publish("release", {"release.json": "{}"}, parents=("aligned_policy",))
    changed = {name for name in one.digests if one.digests[name] != other.digests[name]}
    assert changed == {"batch", "preference_data", "reward_model", "aligned_policy", "release"}
    data = walk(one.store, one.digests["release"]).nodes[one.digests["preference_data"]]
    assert data.tree == tree_digest(hash_tree(one.folder("preference_data")))


def test_a_clean_chain_reaches_every_ancestor_and_has_no_finding(chain):
    lineage = walk(chain.store, chain.digests["release"])
    assert lineage.findings == ()
    assert lineage.verified
    assert set(lineage.nodes) == set(chain.digests.values())
    policy = lineage.nodes[chain.digests["aligned_policy"]]
    assert policy.facts["beta"] == 0.1
    assert [production.mlflow_run for production in policy.productions] == ["mlflow-aligned_policy"]


def test_the_walk_from_a_policy_leaves_out_what_was_made_from_it(chain):
    nodes = walk(chain.store, chain.digests["reference_policy"]).nodes
    assert set(nodes) == {
        chain.digests[name] for name in ("reference_policy", "demonstrations", "rubric")
    }


@pytest.mark.parametrize(
    "name",
    [
        "rubric",
        "batch-1",
        "preference_data",
        "aligned_policy",
        "samples",
        "release_decision",
        "release",
    ],
)
def test_a_changed_byte_anywhere_is_found_and_named(chain, name):
    path = sorted(
        path for path in chain.folder(name).rglob("*") if path.is_file() and path.stat().st_size
    )[0]
    data = bytearray(path.read_bytes())
    data[0] ^= 1
    path.write_bytes(bytes(data))
    found = [
        finding
        for finding in findings(chain)
        if finding.artifact == chain.digests[name] and str(path) in finding.what
    ]
    assert found
    assert (
        found[0].expected
        == chain.store.manifest(chain.digests[name])
        .files[path.relative_to(chain.folder(name)).as_posix()]
        .digest
    )
    assert found[0].found == f"sha256:{hashlib.sha256(data).hexdigest()}"


def test_a_changed_byte_is_found_for_each_artifact_that_shares_the_file(chain):
    chain.publish(
        "rubric-again",
        {"rubric.json": {"name": "helpful-harmless"}},
        kind="rubric",
        facts={"label": "again"},
    )
    chain.publish(
        "policy-2",
        {"w": "2"},
        kind="reference_policy",
        parents=("demonstrations", "rubric", ("again", "rubric-again")),
    )
    assert findings(chain, "policy-2") == ()
    (chain.folder("rubric") / "rubric.json").write_text("changed")
    assert {finding.artifact for finding in findings(chain, "policy-2")} == {
        chain.digests["rubric"],
        chain.digests["rubric-again"],
    }


def test_a_missing_file_is_found(chain):
    path = chain.folder("aligned_policy") / "model" / "model.safetensors"
    path.unlink()
    [finding] = findings(chain)
    assert finding.what == f"{path}: is missing"
    assert (finding.artifact, finding.found) == (chain.digests["aligned_policy"], None)


def test_an_added_file_is_found(chain):
    path = chain.folder("preference_data") / "extra.jsonl"
    path.write_text("one more\n")
    found = [finding.what for finding in findings(chain)]
    assert f"{path}: was added after the artifact was written" in found
    assert any(what.startswith("DVC version") for what in found)


def test_a_symbolic_link_with_the_right_bytes_is_found(chain, tmp_path):
    path = chain.folder("samples") / "samples.jsonl"
    elsewhere = tmp_path / "elsewhere"
    path.rename(elsewhere)
    os.symlink(elsewhere, path)
    [finding] = findings(chain)
    assert finding.what == f"{path}: is not a plain file"


def test_a_missing_tree_is_one_finding(chain):
    folder = chain.folder("eval_vault")
    folder.rename(folder.with_name("moved"))
    [finding] = findings(chain)
    assert finding.what == f"{folder}: the files are missing"


def test_a_missing_parent_is_found_and_the_rest_is_walked(chain):
    chain.manifest_path("demonstrations").unlink()
    lineage = walk(chain.store, chain.digests["release"])
    [finding] = lineage.findings
    assert finding.artifact == chain.digests["demonstrations"]
    assert "`demonstrations` of reference_policy" in finding.what
    assert set(lineage.nodes) == set(chain.digests.values()) - {chain.digests["demonstrations"]}


def test_missing_evals_are_one_finding(chain):
    chain.manifest_path("held_out_evals").unlink()
    [finding] = findings(chain)
    assert finding.artifact == chain.digests["held_out_evals"]


def test_a_changed_manifest_is_found_and_still_followed(chain):
    path = chain.manifest_path("aligned_policy")
    content = json.loads(path.read_bytes())
    content["facts"]["beta"] = 0.5
    path.write_text(json.dumps(content))
    lineage = walk(chain.store, chain.digests["release"])
    [finding] = lineage.findings
    assert finding.what == f"{path}: the manifest was changed after it was written"
    assert chain.digests["rubric"] in lineage.nodes


def test_a_manifest_that_is_no_json_is_found(chain):
    chain.manifest_path("rubric").write_text("{")
    assert [str(chain.manifest_path("rubric")) in finding.what for finding in findings(chain)] == [
        True,
        True,
    ]


def test_a_manifest_whose_files_do_not_give_its_tree_is_found(chain):
    """A forged manifest under its own right digest: the list of files and the tree contradict each
    other."""
    forged = chain.store.manifest(chain.digests["samples"])
    forged = forged.model_copy(update={"files": {}})
    write_atomically(
        chain.store.root / "manifests" / f"{forged.digest().removeprefix('sha256:')}.json",
        forged.to_json(),
    )
    found = walk(chain.store, forged.digest()).findings
    assert found[0].what == "manifest: its list of files does not give its tree"
    assert "was added" in found[1].what


def test_every_finding_is_collected(chain):
    (chain.folder("rubric") / "rubric.json").write_text("changed")
    (chain.folder("reward_model") / "rm").unlink()
    chain.manifest_path("batch-0").unlink()
    materialization_file(chain.store.root, chain.digests["eval_vault"], "run-eval_vault").unlink()
    assert {finding.artifact for finding in findings(chain)} == {
        chain.digests[name] for name in ("rubric", "reward_model", "batch-0", "eval_vault")
    }


def test_a_missing_production_is_found_except_for_samples(chain):
    materialization_file(
        chain.store.root, chain.digests["aligned_policy"], "run-aligned_policy"
    ).unlink()
    [finding] = findings(chain)
    assert finding.artifact == chain.digests["aligned_policy"]
    assert "no run recorded" in finding.what


@pytest.mark.parametrize(
    ("field", "value"), [("data_version", sha256(b"other")), ("kind", "reward_model")]
)
def test_a_production_of_other_data_is_found(chain, field, value):
    write_materialization(
        chain.store.root, chain.productions["aligned_policy"].model_copy(update={field: value})
    )
    [finding] = findings(chain)
    assert finding.found == value
    assert "differs from the manifest" in finding.what


@pytest.mark.parametrize("content", [b"{", b'{"artifact":1}', None])
def test_a_production_that_cannot_be_read_or_belongs_elsewhere_is_found(chain, content):
    path = materialization_file(
        chain.store.root, chain.digests["aligned_policy"], "run-aligned_policy"
    )
    path.write_bytes(chain.productions["reward_model"].to_json() if content is None else content)
    [finding] = findings(chain)
    assert str(path) in finding.what


def test_a_wrong_dvc_version_is_found(chain):
    production = chain.productions["preference_data"]
    right = production.dvc
    assert right == dvc_version(chain.folder("preference_data"))
    write_materialization(
        chain.store.root, production.model_copy(update={"dvc": "0" * 32 + ".dir"})
    )
    [finding] = findings(chain)
    assert (finding.expected, finding.found) == ("0" * 32 + ".dir", right)


def test_the_dvc_version_is_the_one_that_dvc_gives(tmp_path):
    """The listing of DVC's own format, written out: sorted by path, keys sorted, default
    separators."""
    folder = tmp_path / "data"
    (folder / "b").mkdir(parents=True)
    (folder / "b" / "two").write_text("2")
    (folder / "a").write_text("1")
    listing = (
        '[{"md5": "c4ca4238a0b923820dcc509a6f75849b", "relpath": "a"}, {"md5":'
        ' "c81e728d9d4c2f636f067f89cc14862c", "relpath": "b/two"}]'
    )
    assert dvc_version(folder) == hashlib.md5(listing.encode()).hexdigest() + ".dir"
