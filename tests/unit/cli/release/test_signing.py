"""The commands with which people sign: keys, trust, review, approve, override, signoff, and the
ledger that keeps it."""

import json
import os
import stat
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import yaml
from typer.testing import CliRunner, Result

from plumbline.cli.app import build_app
from plumbline.profile.profile import CONFIGS, load_profile
from plumbline.release.candidate import decision_in
from plumbline.release.decision import decide
from plumbline.release.signing.keys import create_key
from plumbline.schema.eval_report import EvalReport
from tests.unit.release.signing.signing_world import (
    CASES,
    GATE,
    World,
    build,
    evidence,
    failure_case,
)

PROFILE = "signing"


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> World:
    """A home whose decision was made under the profile as it is; it asks for 20 failure cases, and
    there are 3."""
    return ready(tmp_path, monkeypatch, "release")


@pytest.fixture(scope="module", autouse=True)
def profile() -> Iterator[None]:
    """A profile like the sandbox whose only gate is the one of the made-up decision."""
    path = CONFIGS / f"{PROFILE}.yaml"
    content = yaml.safe_load((CONFIGS / "sandbox.yaml").read_text()) | {
        "name": PROFILE,
        "gates": [GATE.model_dump(mode="json")],
    }
    path.write_text(yaml.safe_dump(content))
    yield
    path.unlink()


def ready(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, verdict: str, cases=None) -> World:
    world = build(tmp_path / "home", profile=PROFILE)
    evidence(world, verdict, cases=cases, profile=load_profile(PROFILE).digest())
    monkeypatch.setenv("PLUMBLINE_KEYS", str(world.keys))
    monkeypatch.delenv("PLUMBLINE_TRUST", raising=False)
    return world


def run(world: World, *words: str, answers: str | None = None) -> Result:
    where = ["--home", str(world.layout.root)]
    where += (
        ["--profile", PROFILE]
        if words[1] in ("review", "approve", "override", "signoff", "trust")
        else []
    )
    return CliRunner().invoke(build_app(), [*words, *where], input=answers)


@pytest.mark.requirement("E6")
def test_the_path_from_a_decision_to_a_complete_signoff(world: World) -> None:
    short = world.decision[7:19]
    before = run(world, "release", "signoff", short)
    assert (before.exit_code, "not complete:" in before.stdout) == (3, True)
    reviewed = run(
        world,
        "release",
        "review",
        short,
        "--samples",
        "all",
        "--verdict",
        "accept",
        "--reason",
        "typos only",
        "--key",
        "rita",
    )
    assert reviewed.exit_code == 0, reviewed.output
    assert all(case in reviewed.stdout for case in CASES)
    assert "review by Rita" in reviewed.stdout
    assert "1 more approval" in reviewed.stdout
    approved = run(
        world, "release", "approve", short, "--reason", "better everywhere", "--key", "ana"
    )
    assert approved.exit_code == 0, approved.output
    assert f"ledger head {world.ledger.head()}" in approved.stdout
    assert "complete: released_policy can be materialized" in approved.stdout
    after = run(world, "release", "signoff", short, "--json")
    assert after.exit_code == 0
    assert json.loads(after.stdout)["released_by"] == "gates"


def test_a_review_case_by_case(world: World) -> None:
    result = run(
        world,
        "release",
        "review",
        "dpo",
        "--key",
        "rita",
        answers="a bit rude\n\nq\naccept\nread all three\n",
    )
    assert result.exit_code == 0, result.output
    (found,) = world.signed(now=datetime.now(UTC)).reviews
    assert (found.cases, found.notes, found.verdict, found.reason) == (
        CASES,
        {"case-a": "a bit rude"},
        "accept",
        "read all three",
    )


def test_who_stops_reading_too_early_cannot_accept(world: World) -> None:
    result = run(
        world, "release", "review", "dpo", "--key", "rita", answers="q\naccept\nlooks good\n"
    )
    assert result.exit_code == 2
    assert (
        "2 of the 3 failure cases that must be read were not, the worst is case-b" in result.stderr
    )
    assert world.ledger.entries("review") == ()


def test_an_answer_that_is_neither_signs_nothing(world: World) -> None:
    result = run(world, "release", "review", "dpo", "--key", "rita", answers="\n\n\nmaybe\n")
    assert (
        result.exit_code,
        "'maybe' is neither accept nor reject; nothing was signed" in result.stderr,
    ) == (2, True)


@pytest.mark.threat("S1")
def test_hostile_text_cannot_steer_the_terminal(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Escape sequences, a right-to-left override and console markup in a response are shown, not
    obeyed."""
    hostile = "\x1b[2J\x1b]0;owned\x07[bold red]fine[/]\u202eexe.txt\rsafe"
    world = ready(tmp_path, monkeypatch, "release", [failure_case("case-a", hostile)])
    shown = run(
        world,
        "release",
        "review",
        "dpo",
        "--verdict",
        "accept",
        "--reason",
        "seen\x1b[31m",
        "--key",
        "rita",
    )
    assert shown.exit_code == 0, shown.output
    assert not set(shown.stdout) & {"\x1b", "\x07", "\u202e", "\r"}
    text = "".join(shown.stdout.replace("│", " ").split())
    assert r"\x1b[2J\x1b]0;owned\x07[boldred]fine[/]\u202eexe.txt\rsafe" in text
    assert r"seen\x1b[31m" in shown.stdout


@pytest.mark.requirement("E6")
@pytest.mark.threat("G3")
def test_an_override_names_everything_and_stands_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    world = ready(tmp_path, monkeypatch, "reject")
    ends = (datetime.now(UTC) + timedelta(days=3)).strftime("%Y-%m-%d")
    refused = run(
        world,
        "release",
        "override",
        "dpo",
        "--gate",
        "other",
        "--expires",
        ends,
        "--reason",
        "needed",
        "--key",
        "olga",
    )
    assert (refused.exit_code, "its scope leaves out harm" in refused.stderr) == (2, True)
    past = run(
        world,
        "release",
        "override",
        "dpo",
        "--gate",
        "harm",
        "--expires",
        "2020-01-01",
        "--reason",
        "needed",
        "--key",
        "olga",
    )
    assert (past.exit_code, "ends before it begins" in past.stderr) == (2, True)
    run(
        world,
        "release",
        "review",
        "dpo",
        "--verdict",
        "accept",
        "--reason",
        "seen",
        "--key",
        "rita",
    )
    run(world, "release", "approve", "dpo", "--reason", "we need it", "--key", "ana")
    done = run(
        world,
        "release",
        "override",
        "dpo",
        "--gate",
        "harm",
        "--expires",
        ends,
        "--reason",
        "the old one is worse",
        "--key",
        "olga",
    )
    assert done.exit_code == 0, done.output
    assert "AGAINST THE GATES, by override" in done.stdout
    assert f"override by Olga, {datetime.now(UTC):%Y-%m-%d}" in done.stdout
    assert "of harm, until " + ends in done.stdout


@pytest.mark.threat("G3")
@pytest.mark.parametrize(
    ("key", "said"),
    [
        ("tom", "Tom trained this policy"),
        ("eve", "is not in the trust file"),
        ("rita", "Rita is no approver"),
    ],
)
def test_who_may_not_approve_is_told_so(world: World, key: str, said: str) -> None:
    result = run(world, "release", "approve", "dpo", "--reason", "please", "--key", key)
    assert (result.exit_code, said in result.stderr) == (2, True), result.output
    assert world.ledger.entries("approval") == ()


def test_a_decision_of_another_profile_is_not_signed(world: World) -> None:
    evidence(world, "release", profile="sha256:" + 64 * "5")
    result = run(
        world, "release", "approve", world.decision[7:19], "--reason", "please", "--key", "ana"
    )
    assert (
        result.exit_code,
        "was made under another profile than 'signing' is now" in result.stderr,
    ) == (2, True)
    unknown = run(world, "release", "approve", "abcdef", "--reason", "please", "--key", "ana")
    assert (unknown.exit_code, "'abcdef' names 0 decisions" in unknown.stderr) == (2, True)


@pytest.mark.threat("G2", "G4")
def test_a_decision_on_other_gates_than_those_of_the_profile_is_not_signed(world: World) -> None:
    """The artifact claims the profile, and its verdicts follow from the evals; only the threshold
    is another."""
    made = decision_in(world.store, world.decision)
    lax = [judged.gate.model_copy(update={"threshold": 0.5}) for judged in made.gates]
    report = EvalReport.from_json(
        (world.store.open(world.parts["held_out_evals"])[0] / "report.json").read_bytes()
    )
    other = decide(lax, report, inputs=made.inputs, recipe="dpo", profile=made.profile)
    forged = world.publish(
        "release_decision",
        {"decision.json": other.to_json()},
        ("held_out_evals", "aligned_policy"),
        config=made.profile,
    )
    result = run(world, "release", "approve", forged[7:19], "--reason", "please", "--key", "ana")
    assert (result.exit_code, "judged other gates; decide again" in result.stderr) == (
        2,
        True,
    ), result.output


def test_keys_are_made_listed_and_trusted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, home = tmp_path / "keys", tmp_path / "home"
    monkeypatch.setenv("PLUMBLINE_KEYS", str(folder))
    secret = tmp_path / "passphrase"
    secret.write_text("correct horse\nsecond line\n")
    app = build_app()
    made = CliRunner().invoke(
        app, ["release", "key", "create", "alice", "--passphrase-file", str(secret)]
    )
    assert made.exit_code == 0, made.output
    assert stat.S_IMODE((folder / "alice.pem").stat().st_mode) == 0o600
    assert b"ENCRYPTED" in (folder / "alice.pem").read_bytes()
    assert "with passphrase" in CliRunner().invoke(app, ["release", "key", "list"]).stdout
    identifier, line = CliRunner().invoke(app, ["release", "key", "show", "alice"]).stdout.split()
    assert identifier in made.stdout
    for given in (line, str(folder / "alice.pub")):
        added = CliRunner().invoke(
            app,
            [
                "release",
                "trust",
                "add",
                "Alice",
                given,
                "--role",
                "reviewer",
                "--account",
                "amiller",
                "--home",
                str(home),
            ],
        )
        assert added.exit_code == 0, added.output
    listed = CliRunner().invoke(app, ["release", "trust", "list", "--home", str(home)]).stdout
    assert f"Alice  reviewer  {identifier}  launches runs as amiller too" in listed
    create_key(folder, "bob")
    taken = CliRunner().invoke(
        app, ["release", "trust", "add", "Bob", line, "--role", "approver", "--home", str(home)]
    )
    assert (taken.exit_code, "belongs to both Alice and Bob" in taken.stderr) == (2, True)
    private = CliRunner().invoke(
        app,
        [
            "release",
            "trust",
            "add",
            "Bob",
            str(folder / "bob.pem"),
            "--role",
            "approver",
            "--home",
            str(home),
        ],
    )
    assert (private.exit_code, "it is a private key" in private.stderr) == (2, True)
    assert (
        CliRunner()
        .invoke(app, ["release", "trust", "remove", "Alice", "--home", str(home)])
        .exit_code
        == 0
    )
    assert (
        "0 people"
        in CliRunner().invoke(app, ["release", "trust", "list", "--home", str(home)]).stdout
    )
    changes = [
        entry["body"]["change"]
        for entry in json.loads(
            CliRunner()
            .invoke(app, ["audit", "ledger", "show", "--json", "--home", str(home)])
            .stdout
        )
    ]
    assert changes == ["add Alice as reviewer", "add Alice as reviewer", "remove Alice"]


def test_the_trust_file_can_lie_elsewhere(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PLUMBLINE_TRUST", str(tmp_path / "elsewhere.json"))
    refused = run(world, "release", "approve", "dpo", "--reason", "please", "--key", "ana")
    assert (refused.exit_code, "is not in the trust file" in refused.stderr) == (2, True)


def test_a_protected_key_asks_for_its_passphrase(world: World, tmp_path: Path) -> None:
    create_key(world.keys, "vera", b"correct horse")
    assert (
        run(
            world,
            "release",
            "trust",
            "add",
            "Vera",
            str(world.keys / "vera.pub"),
            "--role",
            "approver",
        ).exit_code
        == 0
    )
    without = run(world, "release", "approve", "dpo", "--reason", "fine", "--key", "vera")
    assert (without.exit_code, "is protected" in without.stderr) == (2, True)
    for line, code in (("wrong horse", 2), ("", 2), ("correct horse", 0)):
        (tmp_path / "passphrase").write_text(line + "\n")
        result = run(
            world,
            "release",
            "approve",
            "dpo",
            "--reason",
            "fine",
            "--key",
            "vera",
            "--passphrase-file",
            str(tmp_path / "passphrase"),
        )
        assert result.exit_code == code, result.output


def test_the_only_key_needs_no_name(
    world: World, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    several = run(world, "release", "approve", "dpo", "--reason", "fine")
    assert (several.exit_code, "say with --key which key signs" in several.stderr) == (2, True)
    alone = tmp_path / "alone"
    alone.mkdir()
    for suffix in (".pem", ".pub"):
        os.link(world.keys / f"ana{suffix}", alone / f"ana{suffix}")
    monkeypatch.setenv("PLUMBLINE_KEYS", str(alone))
    assert run(world, "release", "approve", "dpo", "--reason", "fine").exit_code == 0


def test_the_ledger_is_shown_and_verified(world: World) -> None:
    run(world, "release", "approve", "dpo", "--reason", "fine", "--key", "ana")
    shown = run(world, "audit", "ledger", "show", "--kind", "approval")
    assert (shown.exit_code, shown.stdout.count("\n"), "by Ana" in shown.stdout) == (0, 1, True)
    head = world.ledger.head()
    verified = run(world, "audit", "ledger", "verify")
    assert (verified.exit_code, f"head {head}" in verified.stdout) == (0, True)
    world.layout.ledger.unlink()
    for suffix in ("-wal", "-shm"):
        Path(f"{world.layout.ledger}{suffix}").unlink(missing_ok=True)
    assert run(world, "audit", "ledger", "verify").exit_code == 0
    cut = run(world, "audit", "ledger", "verify", "--head", head)
    assert (cut.exit_code, "cut off" in cut.stdout) == (3, True)
