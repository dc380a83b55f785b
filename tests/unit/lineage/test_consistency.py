"""Rubric, dataset and policy move as one triple: a mismatch is a finding of the walk and is refused
before anything is made."""

import pytest

from plumbline.audit.walk import walk
from plumbline.errors import ConfigError, GateRefused
from plumbline.lineage.consistency import require_new_version, require_triple
from plumbline.profile.profile import CONFIGS
from plumbline.schema.rubric import load_rubric
from tests.unit.audit.chain import build, certify_data

RUBRIC = load_rubric(CONFIGS / "rubrics" / "helpful-harmless.yaml")


@pytest.fixture
def chain(tmp_path):
    return build(tmp_path / "store")


def parents(chain, *names):
    return {name: chain.digests[name] for name in names}


def new_rubric(chain):
    return chain.publish(
        "rubric-2",
        {"rubric.json": {"name": "helpful-harmless", "version": 2}},
        kind="rubric",
        facts={"label": "helpful-harmless@2"},
    )


@pytest.mark.requirement("S6")
def test_what_belongs_together_may_be_trained_and_released(chain):
    require_triple(
        chain.store,
        parents(chain, "rubric", "preference_data", "reference_policy"),
        "aligned_policy",
    )
    require_triple(
        chain.store, parents(chain, "held_out_evals", "aligned_policy"), "release_decision"
    )


@pytest.mark.requirement("S6")
def test_a_policy_is_not_trained_on_data_of_another_rubric(chain):
    """The rubric was edited and materialized, the data were not."""
    inputs = parents(chain, "preference_data", "reference_policy") | {"rubric": new_rubric(chain)}
    with pytest.raises(
        GateRefused,
        match=(
            r"rubric: .*was made from another one.*materialize the assets that used the older one"
            r" again"
        ),
    ):
        require_triple(chain.store, inputs, "aligned_policy")


@pytest.mark.requirement("S6")
def test_a_decision_on_a_policy_of_other_data_is_refused(chain):
    chain.publish(
        "data-2", {"train.jsonl": "new\n"}, kind="preference_data", parents=("rubric", "eval_vault")
    )
    chain.publish(
        "policy-2",
        {"w": "2"},
        kind="aligned_policy",
        parents=("rubric", ("preference_data", "data-2"), "reference_policy"),
    )
    roles = ("eval_vault", "reference_policy", "reward_model", ("aligned_policy", "policy-2"))
    chain.publish("evals-2", {"report.json": "{}"}, kind="held_out_evals", parents=roles)
    with pytest.raises(GateRefused, match="release_decision: preference_data: "):
        require_triple(
            chain.store,
            {
                "held_out_evals": chain.digests["evals-2"],
                "aligned_policy": chain.digests["policy-2"],
            },
            "release_decision",
        )
    chain.publish(
        "policy-3",
        {"w": "3"},
        kind="aligned_policy",
        parents=("rubric", "preference_data", "reference_policy"),
    )
    with pytest.raises(
        GateRefused, match="release_decision: aligned_policy: "
    ):  # of the same data, and not the policy that was judged
        require_triple(
            chain.store,
            {
                "held_out_evals": chain.digests["held_out_evals"],
                "aligned_policy": chain.digests["policy-3"],
            },
            "release_decision",
        )


@pytest.mark.requirement("S6")
def test_a_champion_of_another_triple_is_compared_with_and_is_no_disagreement(chain):
    """The champion was trained on older data under an older rubric; the candidate that is held
    against it belongs together all the same."""
    chain.publish(
        "rubric-0",
        {"rubric.json": {"name": "helpful-harmless", "version": 0}},
        kind="rubric",
        facts={"label": "helpful-harmless@0"},
    )
    chain.publish(
        "data-0",
        {"train.jsonl": "old\n"},
        kind="preference_data",
        parents=(("rubric", "rubric-0"), "eval_vault"),
    )
    champion = (("rubric", "rubric-0"), ("preference_data", "data-0"), "reference_policy")
    chain.publish("policy-0", {"w": "0"}, kind="aligned_policy", parents=champion)
    roles = (
        "eval_vault",
        "reference_policy",
        "reward_model",
        "aligned_policy",
        ("champion_policy", "policy-0"),
    )
    chain.publish("evals-1", {"report.json": "{}"}, kind="held_out_evals", parents=roles)
    require_triple(
        chain.store,
        {
            "held_out_evals": chain.digests["evals-1"],
            "aligned_policy": chain.digests["aligned_policy"],
        },
        "release_decision",
    )
    lineage = walk(chain.store, chain.digests["evals-1"])
    assert chain.digests["data-0"] in lineage.nodes, (
        "the walk still re-hashes what the champion was made from"
    )
    assert [finding.what for finding in lineage.findings if "another one" in finding.what] == []


@pytest.mark.requirement("S6")
def test_a_rubric_that_was_materialized_again_is_the_same_rubric(chain):
    again = chain.publish(
        "rubric-again",
        {"rubric.json": {"name": "helpful-harmless"}},
        kind="rubric",
        facts={"label": "again"},
    )
    assert again != chain.digests["rubric"]
    require_triple(
        chain.store,
        parents(chain, "preference_data", "reference_policy") | {"rubric": again},
        "aligned_policy",
    )


def data(chain, rows, facts=None, rubric="rubric"):
    """Preference data with these rows, and what the walk finds about them."""
    chain.publish(
        "data-2",
        {"train.jsonl": rows},
        kind="preference_data",
        parents=(("rubric", rubric), "eval_vault"),
        facts=facts,
    )
    certify_data(chain, "data-2")
    return walk(chain.store, chain.digests["data-2"]).findings


PAIR = '{{"chosen":"a \\"rubric\\":\\"other@9\\"","id":"1","rubric":"{}"}}\n'


@pytest.mark.requirement("S6")
def test_pairs_that_cite_another_rubric_than_their_data_are_found(chain):
    assert (
        data(chain, PAIR.format("helpful-harmless@1") * 3, {"rubric": "helpful-harmless@1"}) == ()
    )
    [finding] = data(chain, PAIR.format("helpful-harmless@1") + PAIR.format("helpful-harmless@2"))
    assert (finding.expected, finding.found) == ("helpful-harmless@1", "helpful-harmless@2")
    assert finding.artifact == chain.digests["data-2"]


@pytest.mark.requirement("S6")
def test_data_that_say_they_follow_another_rubric_are_found(chain):
    [finding] = data(chain, PAIR.format("helpful-harmless@1"), {"rubric": "helpful-harmless@3"})
    assert finding.found == "helpful-harmless@3"


@pytest.mark.requirement("S5")
@pytest.mark.requirement("S6")
def test_pairs_of_an_earlier_version_are_fine_where_the_rubric_accepts_it(chain):
    facts = {"label": "helpful-harmless@2"}
    content = {"name": "helpful-harmless", "version": 2, "accepts": ["helpful-harmless@1"]}
    chain.publish("rubric-2", {"rubric.json": content}, kind="rubric", facts=facts)
    rows = PAIR.format("helpful-harmless@1") + PAIR.format("helpful-harmless@2")
    assert data(chain, rows, {"rubric": "helpful-harmless@2"}, "rubric-2") == ()
    chain.publish(
        "rubric-3", {"rubric.json": content | {"accepts": []}}, kind="rubric", facts=facts
    )
    assert [
        finding.found for finding in data(chain, rows, {"rubric": "helpful-harmless@2"}, "rubric-3")
    ] == ["helpful-harmless@1"]


def keep(chain, rubric, name="kept"):
    chain.publish(
        name,
        {"rubric.json": rubric.to_json().decode()},
        kind="rubric",
        facts={"label": rubric.label},
    )


@pytest.mark.requirement("S5")
def test_an_edit_without_a_new_version_is_refused(tmp_path):
    chain = build(tmp_path / "store", batches=1)
    chain.manifest_path("rubric").unlink()  # of a rubric that is no rubric
    keep(chain, RUBRIC)
    require_new_version(chain.store, RUBRIC)
    edited = RUBRIC.model_copy(update={"forbidden": (*RUBRIC.forbidden, "Swearing.")})
    with pytest.raises(
        ConfigError,
        match=r"helpful-harmless@1 was edited \(forbidden\) and kept its version.*set version to 2",
    ):
        require_new_version(chain.store, edited)
    following = edited.model_copy(update={"version": 2, "accepts": ("helpful-harmless@1",)})
    require_new_version(chain.store, following)
    keep(chain, following, "kept-2")
    with pytest.raises(ConfigError, match="accepts"):
        require_new_version(chain.store, following.model_copy(update={"accepts": ()}))


@pytest.mark.requirement("S5")
def test_a_field_that_a_newer_version_of_the_code_added_is_no_edit(tmp_path):
    chain = build(tmp_path / "store", batches=1)
    old = {
        name: value
        for name, value in RUBRIC.model_dump(mode="json").items()
        if name not in ("accepts", "dimensions", "pii")
    }
    chain.publish("old", {"rubric.json": old}, kind="rubric", facts={"label": RUBRIC.label})
    require_new_version(chain.store, RUBRIC)
    with pytest.raises(ConfigError, match="dimensions"):
        require_new_version(chain.store, RUBRIC.model_copy(update={"dimensions": ("safe",)}))
