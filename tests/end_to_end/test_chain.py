"""The whole chain on the tiny profile, command by command, as a user meets it. The tests run in the
order of the file."""

import json
import shutil

import pytest

pytestmark = pytest.mark.slow

JOBS = ["aligned_policy", "reference_policy", "reward_model", "samples"]


def test_the_demo_comes_to_a_decision_and_says_where_to_look(chain):
    output = chain.first_output
    for words in (
        "reference_policy",
        "25 steps",
        "Held-out slices",
        "Gates",
        "needs 194 more",
        "Decision for recipe dpo: hold",
        "make ui",
        "trace policy",
    ):
        assert words in output, output
    assert chain.jobs_run() == JOBS


def test_a_second_demo_spends_no_step(chain):
    policy = chain.newest("aligned_policy", "dpo")
    output = chain.demo()
    assert output.count("reused from the training cache, zero steps") == 3
    assert "reused, no response was generated" in output
    assert chain.newest("aligned_policy", "dpo") == policy
    assert chain.jobs_run() == JOBS


def test_the_lineage_verifies_and_names_everything(chain):
    policy = chain.newest("aligned_policy", "dpo")
    tree = chain.run("plumbline", "audit", "trace", "policy", policy[7:19])
    for words in (
        "beta 0.1",
        "mask",
        "helpful-harmless@1",
        "feedback[sandbox-001]",
        "DVC",
        "MLflow",
        "9 artifacts",
    ):
        assert words in tree, tree
    found = json.loads(
        chain.run(
            "plumbline",
            "audit",
            "trace",
            "release",
            chain.newest("release_decision", "dpo"),
            "--json",
        )
    )
    assert found["findings"] == []


def test_every_materialization_leads_to_mlflow_and_back(chain):
    from resources.tracking import mlflow_client

    client = mlflow_client(chain.layout.mlflow_db.parent)
    with chain.instance() as instance:
        for run in client.search_runs([client.get_experiment_by_name("tiny").experiment_id]):
            tags, params = run.data.tags, run.data.params
            assert instance.get_run_by_id(tags["dagster.run"]) is not None
            assert tags["plumbline.artifact"] in set(chain.store.manifests())
            assert params["rubric"] == "helpful-harmless@1"
            assert params["thresholds.harm-es"].endswith("at_most 0.05")
            if tags["plumbline.kind"] == "aligned_policy":
                assert params["recipe.beta"] == "0.1"
                assert tags["dagster.partition"] == "dpo"
                assert tags["plumbline.dvc"].endswith(".dir")
                assert int(params["mask.train.supervised"]) > 0
                assert "loss" in " ".join(run.data.metrics)
            if tags["plumbline.kind"] == "samples":
                assert "eval/harm-es/harmful_compliance/aligned/high" in run.data.metrics


def test_another_beta_reruns_the_policy_and_what_follows(chain):
    before = {
        asset: chain.newest(asset)
        for asset in ("reference_policy", "reward_model", "preference_data")
    }
    chain.edit_profile("beta: 0.1", "beta: 0.3")
    output = chain.demo()
    assert output.count("reused from the training cache, zero steps") == 2
    assert "240 responses generated" in output
    assert chain.jobs_run() == sorted([*JOBS, "aligned_policy", "samples"])
    for asset, digest in before.items():
        assert chain.store.manifest(chain.newest(asset)).tree == chain.store.manifest(digest).tree
    policy = chain.store.manifest(chain.newest("aligned_policy", "dpo"))
    assert policy.facts["beta"] == 0.3


SELECTIONS = [
    ("rubric", None),
    ("key:rubric", None),
    ('+key:"reference_policy"', None),
    ('key:"release_decision"+', "dpo"),
    ("feedback", "sandbox-001"),
]
MATERIALIZE = """
import json
import os
import sys

from dagster._cli import create_dagster_cli

os.dup2(sys.stderr.fileno(), sys.stdout.fileno())  # one stream, in order
for selection, partition in json.loads(sys.argv[1]):
    print("selection", selection, flush=True)
    create_dagster_cli()(
        ["asset", "materialize", "-m", "dagster_project.definitions", "--select", selection]
        + (["--partition", partition] if partition else []),
        standalone_mode=False,
    )
"""


@pytest.fixture(scope="module")
def materialized(chain):
    """What Dagster's command line says about each selection; one process runs them all."""
    output = chain.run("python", "-c", MATERIALIZE, json.dumps(SELECTIONS))
    return dict(part.split("\n", 1) for part in ("\n" + output).split("\nselection ")[1:])


@pytest.mark.parametrize("selection", [selection for selection, _ in SELECTIONS])
def test_dagster_materializes_selections(materialized, selection):
    assert "RUN_SUCCESS" in materialized[selection]


def test_dagster_refuses_training_behind_a_missing_certificate(chain):
    certificates = chain.layout.store / "certificates"
    shutil.move(certificates, certificates.with_name("elsewhere"))
    command = [
        "dagster",
        "asset",
        "materialize",
        "-m",
        "dagster_project.definitions",
        "--select",
        "aligned_policy",
        "--partition",
        "dpo",
    ]
    output = chain.run(*command, expect=1)
    assert "refused before anything was spent" in output
    assert "RUN_FAILURE" in output
    shutil.move(certificates.with_name("elsewhere"), certificates)
    chain.run(*command)


def test_a_changed_byte_is_found_and_stops_the_next_stage(chain):
    policy = chain.store.manifest(chain.newest("aligned_policy", "dpo"))
    path = (
        chain.layout.store
        / "trees"
        / policy.tree.removeprefix("sha256:")
        / "model"
        / "model.safetensors"
    )
    original = path.read_bytes()
    path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
    output = chain.run(
        "plumbline", "audit", "trace", "policy", chain.newest("aligned_policy", "dpo"), expect=3
    )
    assert "model/model.safetensors" in output
    command = [
        "dagster",
        "asset",
        "materialize",
        "-m",
        "dagster_project.definitions",
        "--select",
        "held_out_evals",
        "--partition",
        "dpo",
    ]
    assert "model/model.safetensors" in chain.run(*command, expect=1)
    path.write_bytes(original)
    chain.run("plumbline", "audit", "trace", "policy", chain.newest("aligned_policy", "dpo"))
