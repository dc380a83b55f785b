"""The asset `release_report` and `plumbline release report` on a real store: the same decision
gives the same page, whoever asks."""

import dagster as dg
import pytest
from typer.testing import CliRunner

from assets.lineage.partitions import recipes
from assets.report import release_report
from plumbline.cli.app import build_app
from plumbline.evaluation.failure_cases import FILE
from plumbline.records import sha256
from plumbline.release.decision import Decision
from plumbline.schema.kinds import REPORT_PAGE_FILE
from plumbline.storage.code_identity import code_identity
from plumbline.storage.jsonl import write_records
from resources.home import Home


def publish(home, kind, files, parents, facts):
    with home.store().staging() as folder:
        for name, content in files.items():
            (folder / name).write_bytes(content)
        return home.store().publish(
            folder,
            kind=kind,
            config=sha256(b""),
            code=code_identity(),
            parents=parents,
            facts=facts,
        )[0]


@pytest.fixture
def shop(tmp_path, make, complete):
    """A home with a decision and everything behind it; gives the home, an instance and the digest
    of the decision."""
    home, evidence = Home(root=str(tmp_path), profile_name="tiny"), complete(make(harmful=45))
    models = {
        kind: publish(home, kind, {"model": kind.encode()}, {}, {"beta": 0.1})
        for kind in ("reference_policy", "reward_model", "aligned_policy")
    }
    attempts = publish(
        home, "red_team_campaign", {"campaign.json": evidence.campaigns[0].to_json()}, {}, {}
    )
    vault = publish(home, "eval_vault", {"suites.json": b"{}"}, {"red_team:spring": attempts}, {})
    write_records(tmp_path / FILE, evidence.cases)
    files = {
        "report.json": evidence.report,
        "calibration.json": evidence.calibration,
        "over_optimization.json": evidence.curve,
        "lengths.json": evidence.lengths,
    }
    evals = publish(
        home,
        "held_out_evals",
        {name: part.to_json() for name, part in files.items()}
        | {FILE: (tmp_path / FILE).read_bytes()},
        {**models, "eval_vault": vault},
        {"recipe": "dpo"},
    )
    guardrail = publish(
        home, "guardrail", {"measurement.json": evidence.guardrail.to_json()}, {}, {}
    )
    inputs = {
        "held_out_evals": evals,
        "aligned_policy": models["aligned_policy"],
        "guardrail": guardrail,
    }
    recorded = Decision.model_validate({**dict(evidence.decision), "inputs": inputs})
    decision = publish(home, "release_decision", {"decision.json": recorded.to_json()}, inputs, {})

    @dg.asset(partitions_def=recipes)
    def release_decision():
        return dg.MaterializeResult(metadata={"artifact": dg.MetadataValue.text(decision)})

    with dg.instance_for_test() as instance:
        assert dg.materialize([release_decision], instance=instance, partition_key="dpo").success
        yield home, instance, decision


def test_the_page_and_the_metadata_say_the_same(shop, tmp_path):
    home, instance, decision = shop
    result = dg.materialize(
        [release_report], instance=instance, resources={"home": home}, partition_key="dpo"
    )
    [materialization] = result.asset_materializations_for_node("release_report")
    found = materialization.metadata
    folder, artifact = home.store().open(found["artifact"].value, kind="release_report")
    assert (artifact.parents, artifact.facts["verdict"]) == (
        {"release_decision": decision},
        "reject",
    )
    page = (folder / REPORT_PAGE_FILE).read_text()
    for words in (
        "Not fit for release",
        "spring",
        "tactic story",
        "Over-optimization",
        "dpo (beta 0.1)",
    ):
        assert words in page
    assert found["verdict"].value == "reject"
    assert "Not fit for release" in found["what changed"].value
    assert [row.data["verdict"] for row in found["gates"].value.records] == ["fail", "pass"]
    assert found["figures"].value["guardrail"]["everything"].startswith("2.0%")
    assert len(found["failure cases"].value) == 20
    assert found["page"].value == str(folder / REPORT_PAGE_FILE)


def test_the_command_writes_the_same_page(shop, tmp_path):
    home, instance, decision = shop
    dg.materialize(
        [release_report], instance=instance, resources={"home": home}, partition_key="dpo"
    )
    records = instance.fetch_materializations(dg.AssetKey("release_report"), limit=1).records
    folder, _ = home.store().open(records[0].asset_materialization.metadata["artifact"].value)
    output = tmp_path / "again.html"
    result = CliRunner().invoke(
        build_app(),
        [
            "release",
            "report",
            decision,
            "--home",
            str(tmp_path),
            "--profile",
            "tiny",
            "--output",
            str(output),
        ],
    )
    assert result.exit_code == 0, result.output
    assert "not fit for release, " in result.output
    assert output.read_bytes() == (folder / REPORT_PAGE_FILE).read_bytes()


def test_a_changed_byte_behind_the_decision_gives_no_page(shop, tmp_path):
    home, _, decision = shop
    tree = home.store().open(home.store().manifest(decision).parents["held_out_evals"])[0]
    (tree / FILE).chmod(0o644)
    (tree / FILE).write_bytes(b"")
    result = CliRunner().invoke(
        build_app(),
        [
            "release",
            "report",
            decision,
            "--home",
            str(tmp_path),
            "--profile",
            "tiny",
            "--output",
            str(tmp_path / "no.html"),
        ],
    )
    assert result.exit_code != 0
    assert not (tmp_path / "no.html").exists()
