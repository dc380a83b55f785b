"""What the walk finds in what artifacts, decisions and releases say about each other."""

import pytest

from plumbline.audit.walk import walk
from plumbline.lineage.findings import Finding
from plumbline.records import sha256
from tests.unit.audit.chain import certify_data, decide
from tests.unit.audit.conftest import findings


def test_witnesses_are_asked_about_every_production(chain):
    asked = []

    def witness(production):
        asked.append(production.dagster_run)
        return (
            [
                Finding(
                    artifact=production.artifact, what="no", expected=None, found=None, remedy="do"
                )
            ]
            if production.kind == "release"
            else []
        )

    lineage = walk(chain.store, chain.digests["release"], {"Somebody": witness})
    assert sorted(asked) == sorted(
        production.dagster_run for production in chain.productions.values()
    )
    assert [finding.what for finding in lineage.findings] == ["no"]
    assert lineage.cross_checks == ("DVC", "Somebody")


def test_a_parent_that_is_no_digest_is_found_and_opens_no_file(chain):
    chain.digests["evil"] = "../../etc/passwd"
    digest = chain.publish(
        "release-2", {"x": "y"}, kind="samples", parents=("evil",), produced=False
    )
    [finding] = walk(chain.store, digest).findings
    assert finding.found == "../../etc/passwd"


def test_two_policies_in_one_lineage_are_found(chain):
    """The decision was made on the evals of another policy than the one that is released."""
    chain.publish(
        "other",
        {"weights": "other"},
        kind="aligned_policy",
        parents=("rubric", "preference_data", "reference_policy"),
        facts={"beta": 0.2},
    )
    release = {"policy": chain.digests["other"], "decision": chain.digests["release_decision"]}
    chain.publish(
        "release-2",
        {"release.json": release},
        kind="release",
        parents=(("aligned_policy", "other"), "release_decision"),
    )
    [finding] = findings(chain, "release-2")
    assert finding.what.startswith("aligned_policy:")
    assert {finding.expected, finding.found} == {
        chain.store.manifest(chain.digests[name]).tree for name in ("other", "aligned_policy")
    }


def test_a_reward_model_of_older_data_is_found(chain):
    chain.publish(
        "old", {"train.jsonl": "old\n"}, kind="preference_data", parents=("rubric", "eval_vault")
    )
    certify_data(chain, "old")
    chain.publish(
        "old-rm",
        {"rm": "old"},
        kind="reward_model",
        parents=("rubric", ("preference_data", "old"), "reference_policy"),
    )
    chain.publish(
        "evals-2",
        {"report.json": "{}"},
        kind="held_out_evals",
        parents=("eval_vault", "reference_policy", ("reward_model", "old-rm"), "aligned_policy"),
    )
    [finding] = findings(chain, "evals-2")
    assert finding.what.startswith("preference_data: reward_model")


def test_a_batch_that_was_admitted_under_an_older_rubric_is_no_finding(chain):
    chain.publish("old-rubric", {"rubric.json": "old"}, kind="rubric")
    chain.publish(
        "old-batch",
        {"accepted.jsonl": "old\n"},
        kind="feedback_batch",
        parents=(("rubric", "old-rubric"),),
    )
    digest = chain.publish(
        "data-2",
        {"train.jsonl": "t\n"},
        kind="preference_data",
        parents=("rubric", "eval_vault", ("feedback:old", "old-batch")),
    )
    assert walk(chain.store, digest).findings == ()


def test_the_same_bytes_from_two_runs_are_the_same_data(chain):
    """Identity is the content: a rubric that was materialized again gets a new manifest and no
    finding."""
    chain.publish(
        "rubric-again",
        {"rubric.json": {"name": "helpful-harmless"}},
        kind="rubric",
        facts={"label": "again"},
    )
    digest = chain.publish(
        "data-2",
        {"train.jsonl": "t\n"},
        kind="preference_data",
        parents=(("rubric", "rubric-again"), "eval_vault"),
    )
    chain.publish(
        "rm-2",
        {"rm": "2"},
        kind="reward_model",
        parents=("rubric", ("preference_data", "data-2"), "reference_policy"),
    )
    certify_data(chain, "data-2")
    assert chain.digests["rubric"] != chain.digests["rubric-again"]
    assert walk(chain.store, digest).findings == ()
    assert findings(chain, "rm-2") == ()


@pytest.mark.parametrize(
    ("changed", "role"),
    [
        ({"profile": sha256(b"other")}, "the profile"),
        ({"report": sha256(b"other")}, "the eval report"),
        ({"aligned_policy": sha256(b"other")}, "aligned_policy"),
        ({"unknown": sha256(b"other")}, "unknown"),
    ],
)
def test_a_decision_that_cites_something_else_is_found(chain, changed, role):
    decide(chain, "decision-2", **changed)
    [finding] = findings(chain, "decision-2")
    assert f"for {role} than its manifest" in finding.what


@pytest.mark.parametrize(
    "content", [{"policy": sha256(b"x"), "decision": sha256(b"y")}, {}, [], "not json"]
)
def test_a_release_that_cites_something_else_or_nothing_is_found(chain, content):
    chain.publish(
        "release-2",
        {"release.json": content},
        kind="release",
        parents=("aligned_policy", "release_decision"),
    )
    assert findings(chain, "release-2")


def test_a_decision_may_cite_trees_or_artifacts(chain):
    decide(
        chain,
        "decision-2",
        aligned_policy=chain.store.manifest(chain.digests["aligned_policy"]).tree,
    )
    assert findings(chain, "decision-2") == ()


@pytest.mark.parametrize("name", ["demonstrations", "preference_data"])
@pytest.mark.parametrize("harm", ["missing", "failed", "edited"])
def test_data_without_a_passing_certificate_is_found_when_something_was_trained_on_it(
    chain, name, harm
):
    path = certify_data(chain, name, status="fail" if harm == "failed" else "pass")
    if harm == "missing":
        path.unlink()
    elif harm == "edited":
        path.write_text(path.read_text().replace('"examined":10', '"examined":11 '))
    [finding] = findings(chain)
    assert finding.artifact == chain.digests[name]
    assert "no passing certificate" in finding.what
    assert (finding.found is None) == (harm == "missing")
    assert findings(chain, name) == ()


@pytest.mark.parametrize("verdict", ["hold", "reject", None])
def test_a_release_without_a_decision_to_release_is_found(chain, verdict):
    parents = ["aligned_policy"]
    release = {
        "policy": chain.digests["aligned_policy"],
        "decision": chain.digests["release_decision"],
    }
    if verdict is not None:
        release["decision"] = decide(chain, "decision-2", verdict=verdict)
        parents.append(("release_decision", "decision-2"))
    chain.publish("release-2", {"release.json": release}, kind="release", parents=parents)
    [finding] = [
        finding
        for finding in findings(chain, "release-2")
        if finding.what == "released without a decision to release"
    ]
    assert (finding.expected, finding.found) == ("release", verdict)
