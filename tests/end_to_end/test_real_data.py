"""Real human feedback end to end: counts add up, defects are named, and the gate is honest about a
policy that cannot write."""

import pytest

from plumbline.data.quality.agreement_report import AgreementReport
from plumbline.evaluation.reward_models.accuracy import RewardAccuracy
from plumbline.release.decision import Decision

pytestmark = pytest.mark.slow


def test_real_feedback_runs_through_the_chain(tmp_path, user_project, data_folder):
    project = user_project(tmp_path, "real-data-cpu")
    # Five steps a stage: what is tested is the data and the decision, and neither gets better with
    # more.
    project.edit_profile("max_length: 512", "max_length: 192")
    output = project.demo()
    assert "4 empty response, 3 malformed transcript, 1 prompt mismatch" in output
    with project.instance() as instance:
        assert sorted(instance.get_dynamic_partitions("feedback_batches")) == [
            *(f"2023-05-{day}" for day in range(18, 25)),
            "hh-rlhf-harmless-pairs",
        ]
    data = project.store.manifest(project.newest("preference_data"))
    counts = data.facts["counts"]
    assert counts["events"] == 959 + 1492
    assert counts["events"] == counts["events used"] + counts["events set aside"]
    agreement = AgreementReport.from_json(
        (project.store.open(project.newest("preference_data"))[0] / "agreement.json").read_bytes()
    )
    # Wang et al. 2023 publish 0.72 for pairwise preferences with ties discounted; HH-RLHF names no
    # annotators and so adds no item.
    assert round(agreement.question("preference").discounted.value, 2) == 0.72
    folder, decision = project.store.open(project.newest("release_decision", "dpo"))
    assert Decision.from_json((folder / "decision.json").read_bytes()).verdict in ("hold", "reject")
    evals, _ = project.store.open(decision.parents["held_out_evals"])
    accuracy = RewardAccuracy.from_json((evals / "reward_model.json").read_bytes())
    assert accuracy.people is not None
    assert accuracy.length is not None
    assert accuracy.bag_of_words is not None
    for asset, split in (("aligned_policy", "train"), ("reward_model", "validation")):
        partition = "dpo" if asset == "aligned_policy" else None
        rows = project.store.manifest(project.newest(asset, partition)).facts["rows"][split]
        assert rows["in"] == rows["used"] + sum(rows["dropped"].values())
        assert rows["dropped"].get("too long", 0) > 0
    project.run("plumbline", "audit", "trace", "policy", project.newest("aligned_policy", "dpo"))
