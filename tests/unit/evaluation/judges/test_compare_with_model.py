"""`plumbline evaluate judge compare --judge llm`: two policies before a language model behind a
real HTTP server."""

import os
from pathlib import Path

import pytest
import typer
from typer.testing import CliRunner

from plumbline.cli.app import PlainErrors
from plumbline.cli.evaluate import judge
from plumbline.evaluation.judges.llm_judge import JudgeReply
from plumbline.evaluation.judges.policy_comparison import JudgedPolicies
from plumbline.evaluation.judges.reliability import JudgeReliability, Reliabilities
from plumbline.evaluation.scoring import ScoredSample
from plumbline.evaluation.vault.suites import describe, write_vault
from plumbline.profile.profile import load_profile
from plumbline.schema.conversations import Message
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.statistics.intervals import proportion
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout
from plumbline.storage.jsonl import read_records
from tests.unit.audit.chain import Chain

COUNT = 12


@pytest.fixture
def judged_by_model(endpoint, tmp_path, monkeypatch):
    """A profile with this endpoint, held-out evals of two policies, and a language model that was
    measured."""
    name = f"compared-{endpoint.server.server_port}"
    configs = Path(os.environ["PLUMBLINE_CONFIGS"])
    lines = (
        (configs / "tiny.yaml").read_text().replace("name: tiny\n", f"name: {name}\n").splitlines()
    )
    rule = (
        f'judges: {{llm: {{base_url: "{endpoint.rule().base_url}", model: m, backoff: 0.01}},'
        " min_agreement: 0.6, max_flips: 0.3}"
    )
    (configs / f"{name}.yaml").write_text(
        "\n".join([line for line in lines if not line.startswith("judges:")] + [rule]) + "\n"
    )
    monkeypatch.setenv("PLUMBLINE_HOME", str(tmp_path))
    monkeypatch.setenv("PLUMBLINE_PROFILE", name)
    layout, digest = HomeLayout(tmp_path, name), load_profile(name, configs).digest()
    chain = Chain(ArtifactStore(layout.store))
    outcomes = proportion([True] * 90 + [False] * 10, 0.95)
    found = JudgeReliability(
        judge="llm",
        identity="m",
        items=100,
        agreement=outcomes,
        ceiling=None,
        slices={},
        flips=proportion([False] * 100, 0.95),
    )
    chain.publish(
        "judges",
        {"reliability.json": Reliabilities(judges=(found,)).to_json().decode()},
        config=digest,
    )
    context = Context(locale="en", domain="d", slice="s")
    prompts = [
        EvalPrompt(
            id=f"p{n}",
            suite="sandbox",
            prompt=(Message(role="user", content=f"q{n}"),),
            expected="comply",
            context=context,
        )
        for n in range(COUNT)
    ]
    vault = tmp_path / "vault"
    vault.mkdir()
    write_vault(vault, prompts, describe(prompts, name, {"sandbox": "a test"}))
    chain.publish(
        "eval_vault", {path.name: path.read_text() for path in vault.iterdir()}, config=digest
    )
    rows = [row(n, "aligned", f"right {n}" if n % 3 else "the same") for n in range(COUNT)] + [
        row(n, "reference", f"wrong {n}" if n % 3 else "the same") for n in range(COUNT)
    ]
    text = "".join(one.to_json().decode() for one in rows)
    chain.publish(
        "held_out_evals",
        {"scored.jsonl": text},
        parents=("eval_vault",),
        config=digest,
        partition="dpo",
    )
    return layout


def row(number, policy, response):
    fields = {
        "prompt_id": f"p{number}",
        "slice": "s",
        "policy": policy,
        "response": response,
        "reward": None,
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


def run(*arguments):
    app = typer.Typer(cls=PlainErrors, no_args_is_help=True)
    app.add_typer(judge.app, name="judge")
    return CliRunner().invoke(app, ["judge", *arguments])


@pytest.mark.requirement("E9")
def test_a_language_model_compares_two_policies_and_every_reply_is_kept(
    judged_by_model, endpoint, prefer
):
    endpoint.say = prefer(lambda text: text.startswith("right"))
    done = run("compare", "--judge", "llm")
    assert done.exit_code == 0, done.output
    assert "| all | 8, 4, 0, 0 |" in done.output
    assert "12 prompts, 4 answered in the same words" in done.output
    kept = next((judged_by_model.profile_folder / "judged").glob("*-llm"))
    replies = list(read_records(kept / "replies.jsonl", JudgeReply))
    assert len(replies) == len(endpoint.requests) == 16  # nobody is asked about equal words
    assert JudgedPolicies.from_json((kept / "comparison.json").read_bytes()).identity == "m"
    assert run("compare", "--judge", "llm").output == done.output
    assert len(endpoint.requests) == 16
