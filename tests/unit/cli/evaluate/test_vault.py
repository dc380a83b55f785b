"""`plumbline evaluate vault` and `plumbline profile rubric actions`: what people see of the
held-out suites without reading them, and with it."""

import json

import pytest
from typer.testing import CliRunner

from plumbline.cli.app import build_app
from plumbline.evaluation.vault.leaks import suite_overlaps
from plumbline.evaluation.vault.opening import open_vault
from plumbline.evaluation.vault.suites import describe, write_vault
from plumbline.lineage.ledger import Ledger
from plumbline.lineage.materializations import MaterializationRecord, write_materialization
from plumbline.profile.profile import load_profile
from plumbline.records import canonical_json
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.code_identity import code_identity
from plumbline.storage.home import HomeLayout

POLICY = "sha256:" + "a" * 64
HOSTILE = "Which \x1b[31mbridges\u202e cross the river below the old town wall?"


def prompt(name, suite, text):
    context = Context(locale="en", domain="towns", slice=f"{suite}-en")
    return EvalPrompt(
        id=name,
        suite=suite,
        prompt=(Message(role="user", content=text),),
        expected="comply",
        context=context,
    )


@pytest.fixture
def layout(tmp_path):
    return HomeLayout(tmp_path, "tiny")


@pytest.fixture
def publish(layout):
    """Publishes a vault of these prompts as the newest one of the profile; gives its folder."""

    def make(*prompts, profile="tiny"):
        store = ArtifactStore(layout.store)
        with store.staging() as folder:
            write_vault(
                folder,
                prompts,
                describe(prompts, profile, {one.suite: "a test" for one in prompts}),
            )
            shared = suite_overlaps(prompts, load_profile("tiny").preferences.contamination)
            (folder / "overlaps.json").write_bytes(
                canonical_json([one.model_dump(mode="json") for one in shared])
            )
            digest, artifact = store.publish(
                folder,
                kind="eval_vault",
                config=POLICY,
                code=code_identity(),
                parents={},
                facts={"profile": profile},
            )
        run = f"run-{len(list((layout.store / 'productions').glob('*/*')))}"
        write_materialization(
            layout.store,
            MaterializationRecord(
                artifact=digest,
                kind="eval_vault",
                asset="eval_vault",
                partition=None,
                dagster_run=run,
                data_version=artifact.tree,
                spec=None,
                mlflow_run=None,
                dvc=None,
                cached=False,
                person="ada",
            ),
        )
        return store.open(digest)[0]

    return make


@pytest.fixture
def plumbline(layout):
    def run(*arguments, code=0):
        result = CliRunner().invoke(
            build_app(), [*arguments, "--home", str(layout.root), "--profile", "tiny"]
        )
        assert result.exit_code == code, result.output
        return result.output

    return run


def judged(layout, folder, policy):
    return open_vault(
        folder,
        Ledger(layout.ledger),
        purpose="evaluation",
        by="held_out_evals",
        policy=policy,
        rule=load_profile("tiny").vault,
    )


@pytest.mark.requirement("E3")
def test_show_tells_digest_slices_and_use_and_no_prompt(plumbline, publish, layout):
    folder = publish(prompt("a", "sandbox", HOSTILE))
    judged(layout, folder, POLICY)
    shown = plumbline("evaluate", "vault", "show")
    assert "1 of 365" in shown
    assert "sandbox-en" in shown
    assert "river" not in shown
    found = json.loads(plumbline("evaluate", "vault", "show", "--json"))
    assert found["uses"]["sandbox"]["policies"] == [POLICY]
    assert found["uses"]["sandbox"]["pin"] == found["suites"]["sandbox"]["content"]


@pytest.mark.requirement("E3")
def test_openings_name_who_looked_and_a_person_who_reads_stands_among_them(
    plumbline, publish, layout
):
    folder = publish(prompt("a", "sandbox", HOSTILE))
    assert "nobody opened the vault of profile tiny yet" in plumbline(
        "evaluate", "vault", "openings"
    )
    judged(layout, folder, POLICY)
    read = plumbline("evaluate", "vault", "read", "sandbox", "--by", "grace")
    assert r"Which \u{1b}[31mbridges\u{202e} cross" in read
    assert "\x1b" not in read
    assert "the inspection by grace is in the ledger" in read
    found = json.loads(plumbline("evaluate", "vault", "openings", "--json"))
    assert [(one["purpose"], one["by"]) for one in found] == [
        ("evaluation", "held_out_evals"),
        ("inspection", "grace"),
    ]
    assert "grace" in plumbline("evaluate", "vault", "openings")


@pytest.mark.requirement("E3")
def test_pin_prints_lines_that_a_profile_takes(plumbline, publish, layout):
    """After the prompts changed, the line has the new digest and says what it was and how many
    policies the old one judged."""
    judged(layout, publish(prompt("a", "sandbox", "Old?")), POLICY)
    before = plumbline("evaluate", "vault", "pin")
    publish(prompt("a", "sandbox", "New?"))
    after = plumbline("evaluate", "vault", "pin")
    old, new = (line.split("pin: ")[1][:71] for line in (before, after))
    assert before == f"    sandbox: {{budget: 365, pin: {old}}}\n"
    assert (
        after == f"    sandbox: {{budget: 365, pin: {new}}}  # was {old}, with 1 policies judged\n"
    )


@pytest.mark.requirement("E3")
def test_overlaps_are_counted_without_text(plumbline, publish):
    text = "Which of the seven bridges was closed in the winter of the flood?"
    publish(prompt("a", "sandbox", text))
    assert "no prompt stands in two" in plumbline("evaluate", "vault", "overlaps")
    publish(prompt("a", "sandbox", text), prompt("b", "red-team-regression", text))
    shown = plumbline("evaluate", "vault", "overlaps")
    assert "1 exact" in shown
    assert "bridges" not in shown


def test_without_a_vault_or_with_one_of_another_profile_the_commands_say_what_to_do(
    plumbline, publish
):
    assert "run `make demo`, or materialize eval_vault" in plumbline(
        "evaluate", "vault", "show", code=2
    )
    publish(prompt("a", "sandbox", "x"), profile="another")
    assert "no run made the vault of profile 'tiny'" in plumbline(
        "evaluate", "vault", "pin", code=2
    )
    publish(prompt("a", "sandbox", "x"))
    assert "has no suite 'songs'; it has sandbox" in plumbline(
        "evaluate", "vault", "read", "songs", "--by", "grace", code=2
    )


@pytest.mark.requirement("A5")
def test_the_action_table_of_the_profile_is_printed_with_the_cases_that_test_it():
    result = CliRunner().invoke(build_app(), ["profile", "rubric", "actions", "--cases"])
    assert result.exit_code == 0
    assert (
        "| `read_file` | the file is in the workspace of the user | allowed | answer-benign |"
        " read-own | 3 |" in result.output
    )
