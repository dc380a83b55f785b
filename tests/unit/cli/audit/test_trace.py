import json
import subprocess
import sys

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.cli.orchestrator import Orchestrator
from plumbline.lineage.findings import Finding
from tests.unit.audit.chain import build


@pytest.fixture(scope="module")
def clean(tmp_path_factory):
    """A chain that no test changes."""
    return build(tmp_path_factory.mktemp("home") / "store", batches=9)


@pytest.fixture
def chain(tmp_path):
    return build(tmp_path / "store")


def trace(chain, *arguments, witnesses=None):
    return CliRunner().invoke(
        build_app(Orchestrator(witnesses)),
        ["audit", "trace", *arguments, "--home", str(chain.store.root.parent)],
    )


def test_a_clean_release_is_verified(clean):
    result = trace(clean, "release", clean.digests["release"])
    assert result.exit_code == 0, result.output
    assert "verified: 20 artifacts" in result.stdout
    assert "beta 0.1" in result.stdout
    assert "and 5 more of kind feedback_batch" in result.stdout
    assert max(len(line) for line in result.stdout.splitlines()) <= 100
    for digest in clean.digests.values():
        assert digest not in result.stdout  # people get 12 hex digits


WORDS = {
    "release_decision": "release",
    "aligned_policy": "policy",
    "reference_policy": "policy",
    "reward_model": "reward-model",
    "batch-3": "dataset",
}


@pytest.mark.parametrize(("name", "kind"), WORDS.items())
@pytest.mark.parametrize(
    "form",
    [
        lambda digest: digest,
        lambda digest: digest[7:],
        lambda digest: digest[7:15].upper(),
        lambda digest: digest[:15],
    ],
)
def test_every_kind_is_found_by_digest_or_prefix(clean, kind, name, form):
    assert trace(clean, kind, form(clean.digests[name]), "--offline").exit_code == 0


def test_the_data_version_that_dagster_shows_is_an_id_as_well(clean):
    tree = clean.store.manifest(clean.digests["aligned_policy"]).tree
    result = trace(clean, "policy", tree, "--json")
    assert json.loads(result.stdout)["root"] == clean.digests["aligned_policy"]


def test_json_has_full_digests_and_every_fact(clean):
    content = json.loads(
        trace(clean, "release", clean.digests["release"], "--json", "--offline").stdout
    )
    assert content["verified"] is True
    assert content["findings"] == []
    assert content["cross_checks"] == ["DVC", "the ledger"]
    assert content["not_cross_checked"] == {"Dagster": "--offline", "MLflow": "--offline"}
    assert set(content["nodes"]) == set(clean.digests.values())
    policy = content["nodes"][clean.digests["aligned_policy"]]
    assert policy["facts"]["mask"]["train"] == {"supervised": 1200, "masked": 3400}
    assert policy["productions"][0]["mlflow_run"] == "mlflow-aligned_policy"
    assert policy["parents"]["preference_data"] == clean.digests["preference_data"]


def test_tampering_exits_3_and_names_the_file_and_the_remedy(chain):
    path = chain.folder("aligned_policy") / "model" / "model.safetensors"
    path.write_text("Weights")
    result = trace(chain, "release", chain.digests["release"])
    assert result.exit_code == 3
    # Lines are broken at 100 columns, within a path too when the temporary folder has a long name.
    assert "model/model.safetensors:waschanged" in "".join(result.stdout.split())
    assert "restore the store" in " ".join(result.stdout.split())
    assert "1 finding" in " ".join(result.stdout.split())
    content = json.loads(trace(chain, "release", chain.digests["release"], "--json").stdout)
    assert content["verified"] is False
    assert [finding["artifact"] for finding in content["findings"]] == [
        chain.digests["aligned_policy"]
    ]


@pytest.mark.parametrize("name", ["release", "rubric"])
@pytest.mark.parametrize("harm", ["remove", "change"])
def test_a_manifest_that_is_gone_or_changed_exits_3_even_at_the_root(chain, name, harm):
    if harm == "remove":
        chain.manifest_path(name).unlink()
    else:
        chain.manifest_path(name).write_text("{}")
    assert trace(chain, "release", chain.digests["release"]).exit_code == 3


def test_what_data_say_about_themselves_cannot_steer_the_terminal(chain):
    (chain.folder("rubric") / "\x1b[2J[bold]").write_text("x")
    result = trace(chain, "release", chain.digests["release"])
    assert result.exit_code == 3
    assert "\x1b" not in result.stdout
    assert "\\x1b[2J[bold]" in "".join(line.strip() for line in result.stdout.splitlines())


def test_without_an_id_it_lists_what_is_there(clean):
    result = trace(clean, "dataset")
    assert result.exit_code == 2
    for name in ("preference_data", "demonstrations", "eval_vault", "batch-8"):
        assert clean.digests[name][7:19] in result.stdout
    rows = json.loads(trace(clean, "release", "--json").stdout)
    assert {row["id"]: row["verdict"] for row in rows} == {
        clean.digests["release"]: None,
        clean.digests["release_decision"]: "release",
    }
    assert rows[0]["runs"] == [f"run-{rows[0]['kind']}"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("release", "abc12"), "at least 6 hex digits"),
        (("release", "../../etc/passwd"), "is not an id"),
        (("release", "sha256:" + "0" * 64), "no artifact in"),
        (("recipe", "abcdef"), "not one of"),
    ],
)
def test_wrong_input_exits_2_with_a_message(clean, arguments, message):
    result = trace(clean, *arguments)
    assert result.exit_code == 2
    assert message in " ".join(result.stderr.split())
    assert "Traceback" not in result.output


def test_an_id_of_another_kind_says_which_word_to_use(clean):
    result = trace(clean, "release", clean.digests["reward_model"])
    assert result.exit_code == 2
    assert (
        f"plumbline audit trace reward-model {clean.digests['reward_model'][7:19]}" in result.stderr
    )


def test_a_prefix_that_is_not_unique_lists_the_candidates(clean, monkeypatch):
    monkeypatch.setattr("plumbline.cli.audit.trace.SHORTEST_PREFIX", 0)
    result = trace(clean, "release", "sha256:")
    assert result.exit_code == 2
    assert "is not unique" in result.stderr
    assert clean.digests["rubric"] in result.stderr


def test_an_empty_home_says_what_to_do(tmp_path):
    result = CliRunner().invoke(build_app(), ["audit", "trace", "release", "--home", str(tmp_path)])
    assert result.exit_code == 2
    assert "materialize the assets first" in result.stderr


def test_offline_asks_no_witness_and_says_so(clean):
    def factory(layout):
        raise AssertionError("opened with --offline")

    result = trace(clean, "release", clean.digests["release"], "--offline", witnesses=factory)
    assert result.exit_code == 0
    assert "not cross-checked: Dagster (--offline)" in result.stdout


def test_a_witness_that_disagrees_exits_3(clean):
    def disagree(production):
        return (
            [
                Finding(
                    artifact=production.artifact, what="no", expected="a", found="b", remedy="ask"
                )
            ]
            if production.kind == "rubric"
            else []
        )

    result = trace(
        clean, "release", clean.digests["release"], witnesses=lambda layout: {"Dagster": disagree}
    )
    assert result.exit_code == 3
    assert f"rubric {clean.digests['rubric'][7:19]}: no" in result.stdout
    assert "not cross-checked: MLflow" in result.stdout


def test_the_pure_command_line_runs_as_a_module_without_dagster_and_mlflow(clean):
    heavy = "{'dagster', 'mlflow', 'torch', 'sqlalchemy'}"
    code = (
        "import sys\nfrom plumbline.cli.app import build_app\ntry:\n    build_app()()\nfinally:\n  "
        " "
        f" print(sorted({heavy} & set(sys.modules)))"
    )
    arguments = [
        "audit",
        "trace",
        "release",
        clean.digests["release"],
        "--home",
        str(clean.store.root.parent),
    ]
    done = subprocess.run(
        [sys.executable, "-c", code, *arguments], capture_output=True, text=True, timeout=60
    )
    assert (done.returncode, done.stdout.splitlines()[-1]) == (0, "[]"), done.stderr
    done = subprocess.run(
        [sys.executable, "-m", "plumbline", *arguments], capture_output=True, text=True, timeout=60
    )
    assert done.returncode == 0
    assert "verified" in done.stdout
