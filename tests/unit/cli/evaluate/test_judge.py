"""`plumbline evaluate judge`: what people see of the judges, and the refusal of one that is not
reliable."""

import json

import pytest
import typer
from typer.testing import CliRunner

from plumbline.cli.app import PlainErrors
from plumbline.cli.evaluate import judge
from plumbline.evaluation.judges.reliability import JudgeReliability, Reliabilities
from plumbline.evaluation.refusals.detector import RefusalDetector
from plumbline.evaluation.refusals.labelled import LABELS
from plumbline.evaluation.scoring import ScoredSample
from plumbline.evaluation.vault.opening import openings
from plumbline.evaluation.vault.suites import describe, write_vault
from plumbline.lineage.ledger import Ledger
from plumbline.profile.profile import load_profile
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.statistics.intervals import proportion
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout
from tests.unit.audit.chain import Chain

PROFILE = load_profile("sandbox").digest()
COUNT = 40


def run(*arguments):
    app = typer.Typer(cls=PlainErrors, no_args_is_help=True)
    app.add_typer(judge.app, name="judge")
    return CliRunner().invoke(app, ["judge", *(str(argument) for argument in arguments)])


@pytest.fixture
def chain(tmp_path, monkeypatch):
    monkeypatch.setenv("PLUMBLINE_HOME", str(tmp_path))
    monkeypatch.setenv("PLUMBLINE_PROFILE", "sandbox")
    return Chain(ArtifactStore(HomeLayout(tmp_path, "sandbox").store))


def measured(chain, *outcomes):
    """The newest `judges` of the profile: a reward model that was right or wrong about these
    pairs."""
    found = JudgeReliability(
        judge="reward-model",
        identity="rm",
        items=len(outcomes),
        agreement=proportion(outcomes, 0.95),
        ceiling=None,
        slices={},
    )
    chain.publish(
        "judges",
        {"reliability.json": Reliabilities(judges=(found,)).to_json().decode()},
        config=PROFILE,
    )


def sample(number, policy, response, reward):
    fields = {
        "prompt_id": f"p{number}",
        "slice": "s",
        "policy": policy,
        "response": response,
        "reward": reward,
        "tokens": 3,
        "truncated": False,
        "seed": 0,
    }
    scored = {
        "logp": None,
        "reference_logp": None,
        "expected": "comply",
        "metrics": {},
        "label": "answer",
        "unscored": None,
    }
    return ScoredSample(**fields, **scored)


@pytest.fixture
def evals(chain, tmp_path):
    """Held-out evals in which the aligned policy has the higher reward on three prompts of four."""
    context = Context(locale="en", domain="d", slice="s")
    asked = [
        EvalPrompt(
            id=f"p{n}",
            suite="sandbox",
            prompt=(Message(role="user", content=f"q{n}"),),
            expected="comply",
            context=context,
        )
        for n in range(COUNT)
    ]
    folder = tmp_path / "vault"
    folder.mkdir()
    write_vault(folder, asked, describe(asked, "sandbox", {"sandbox": "a test"}))
    chain.publish(
        "eval_vault", {path.name: path.read_text() for path in folder.iterdir()}, config=PROFILE
    )
    rows = [sample(n, "aligned", f"answer {n}", 1.0 if n % 4 else -1.0) for n in range(COUNT)]
    rows += [sample(n, "reference", f"other answer {n}", 0.0) for n in range(COUNT)]
    text = "".join(row.to_json().decode() for row in rows)
    chain.publish(
        "held_out_evals",
        {"scored.jsonl": text},
        parents=("eval_vault",),
        config=PROFILE,
        partition="dpo",
    )
    return chain


@pytest.mark.requirement("E9")
def test_a_reliable_judge_compares_and_the_look_into_the_vault_is_recorded(evals, tmp_path):
    measured(evals, *[True] * 90, *[False] * 10)
    done = run("compare", "--by", "ada")
    assert done.exit_code == 0, done.output
    assert "| all | 30, 0, 10, 0 | 75.0%" in done.output
    assert f"{COUNT} prompts, 0 answered in the same words" in done.output
    kept = list(
        (tmp_path / "profiles" / "sandbox" / "judged").glob("*-reward-model/comparison.json")
    )
    assert json.loads(kept[0].read_text())["length"]["all"]["wins"] == 30
    opened = openings(Ledger(HomeLayout(tmp_path).ledger), "sandbox")
    assert [(one.purpose, one.by, one.policy) for one in opened] == [("inspection", "ada", None)]


@pytest.mark.requirement("E9")
def test_an_unreliable_judge_is_refused_before_the_vault_is_opened(evals, tmp_path):
    measured(evals, *[True] * 50, *[False] * 50)
    done = run("compare")
    assert done.exit_code == 2
    assert (
        "judge 'reward-model' (rm) is not heard, fail: it agrees with people in 50.0%"
        in done.output
    )
    assert "nobody measured judge 'llm'" in run("compare", "--judge", "llm").output
    assert openings(Ledger(HomeLayout(tmp_path).ledger), "sandbox") == ()


@pytest.mark.requirement("E9")
def test_people_see_how_far_each_judge_agrees(chain):
    assert "no run made judges" in run("reliability").output
    measured(chain, *[True] * 90, *[False] * 10)
    shown = run("reliability")
    assert shown.exit_code == 0
    assert "| agreement with people | 90.0% [82.6%, 94.5%] | 100 |" in shown.output
    assert "judge-reward-model: pass" in shown.output
    assert json.loads(run("reliability", "--json").output)[0]["judge"] == "reward-model"


def test_the_detector_is_measured_and_written_from_a_folder_of_labels(tmp_path):
    assert "holds no completions_<model>.csv" in run("refusals", tmp_path).output
    texts = {
        "a": ("I can't help with that.", "Sure, here are steps."),
        "b": ("Sorry, I will not.", "You can do it."),
        "c": ("It is wrong.", "There are many ways."),
    }
    for model, (refusal, answer) in texts.items():
        rows = [",".join(("id", "prompt", "completion", *LABELS))]
        rows += [
            f'{n},p{n},"{refusal if n % 2 else answer}"'
            + (",2_full_refusal" if n % 2 else ",1_full_compliance") * 3
            for n in range(30)
        ]
        (tmp_path / f"completions_{model}.csv").write_text("\n".join(rows) + "\n")
    done = run("refusals", tmp_path, "--output", tmp_path / "detector.json")
    assert done.exit_code == 0, done.output
    assert "| detector | final_label | all |" in done.output
    assert RefusalDetector.from_json((tmp_path / "detector.json").read_bytes()).trained_on == {
        "a": 30,
        "b": 30,
        "c": 30,
    }
    assert json.loads(run("refusals", tmp_path, "--json").output)["level"] == 0.95
