"""The asset `held_out_evals` with real data, vault, ledger and launcher; only the models are
replaced, by a worker that answers from the sandbox's book."""

import json
import sys

import dagster as dg
import pytest

from assets.evals import every_sample_counted, held_out_evals, named_checks
from assets.lineage.partitions import recipes
from plumbline.evaluation.failure_cases import FILE, read_failures
from plumbline.evaluation.failure_modes.over_optimization import OverOptimization
from plumbline.evaluation.vault.opening import openings
from plumbline.records import sha256
from plumbline.release.promotion import promote
from plumbline.sandbox.datasets import SandboxOptions, demonstrations
from plumbline.schema.checks import CHECKS_FILE, EVAL_CHECKS, CheckReport
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.code_identity import code_identity
from plumbline.storage.jsonl import read_records
from resources.launch.launcher import TrainingLauncher
from resources.snapshots import DatasetSnapshots
from resources.tracking import ExperimentTracker

pytestmark = pytest.mark.slow

# The reference answers like the base policy of the sandbox, the others as a policy should; the
# reward is the true utility.
WORKER = """
import sys
from pathlib import Path
from random import Random
from plumbline.storage.artifacts import hash_tree, tree_digest
from plumbline.storage.jsonl import read_records, write_records
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.held_out import BestOfDraws, Sample
from plumbline.sandbox.judge import judge
from plumbline.sandbox.responses import answer, refusal, sample_response
from plumbline.sandbox.world import parse_intent
from plumbline.training.job.spec import Job, JobResult

folder = Path(sys.argv[1])
job = Job.from_json((folder / "job.json").read_bytes())
vault = Path(job.store) / "trees" / job.inputs["eval_vault"].tree[7:]
(Path(__file__).parent / "sampled").touch()

def respond(policy, prompt, luck):
    intent, language = parse_intent(prompt.facts["intent"]), prompt.facts["language"]
    text = sample_response(intent, language, luck) if policy == "reference" else refusal(language) if intent.should_refuse else answer(intent, language, luck)
    return text, judge(intent, language, text).utility

prompts = list(read_records(vault / "prompts.jsonl", EvalPrompt))
samples = []
for policy in ("reference", "aligned", *(["champion"] if "champion_policy" in job.inputs else [])):
    for prompt in prompts:
        text, utility = respond(policy, prompt, Random(policy + prompt.id))
        samples.append(Sample(prompt_id=prompt.id, slice=prompt.context.slice, policy=policy, response=text, tokens=len(text.split()), truncated=False,
                              logp=-3.0, reference_logp=-4.0, reward=utility, seed=0))
draws = []
for prompt in prompts[: job.spec.recipe.best_of.prompts]:
    both = [respond("reference", prompt, Random(f"{i}{prompt.id}")) for i in range(job.spec.recipe.best_of.n)]
    draws.append(BestOfDraws(prompt_id=prompt.id, slice=prompt.context.slice, responses=tuple(text for text, _ in both),
                             rewards=tuple(utility for _, utility in both), tokens=(9,) * len(both)))
output = folder / "output"
output.mkdir(parents=True)
write_records(output / "samples.jsonl", samples)
write_records(output / "best_of.jsonl", draws)
files = hash_tree(output)
facts = {"samples": len(samples), "rows": {"prompts": {"dropped": {}}}}
(folder / "result.json").write_bytes(JobResult(tree=tree_digest(files), files=files, facts=facts).to_json())
"""


class Bench:
    """A home with real data, in which published trees stand in for models."""

    def __init__(self, loop, folder, events):
        self.loop, self.home, self.instance, self.folder = loop, loop.home, loop.instance, folder
        (folder / "worker.py").write_text(WORKER)
        loop.arrive(events)
        self.data_folder, _, _ = loop.build()
        self.models("first")

    def models(self, name, data=None, tokenizer="sha256:t"):
        """Publish a policy with everything that it stands on; gives its digest."""
        shared = {"tokenizer": tokenizer, "chat_template": "sha256:c"}
        rubric, data = self.loop.artifact("rubric"), data or self.loop.artifact("preference_data")
        rows = list(demonstrations(SandboxOptions(seed=1, demonstrations=30)))
        demos = self.publish(
            "demonstrations",
            {"demonstrations.jsonl": b"".join(row.to_json() for row in rows)},
            {},
            {},
        )
        reference = self.publish(
            "reference_policy", {"model": b"r"}, {"demonstrations": demos, "rubric": rubric}, shared
        )
        pairs = read_records(self.data_folder / "validation.jsonl", PreferencePair)
        rewards = "".join(
            json.dumps({"id": pair.id, "chosen": 1.0, "rejected": 0.2}) + "\n" for pair in pairs
        )
        parents = {"preference_data": data, "reference_policy": reference, "rubric": rubric}
        self.publish("reward_model", {"validation.jsonl": rewards.encode()}, parents, shared)
        return self.publish(
            "aligned_policy", {"model": name.encode()}, parents, {**shared, "beta": 0.1}
        )

    def publish(self, kind, files, parents, facts):
        with self.home.store().staging() as folder:
            for name, content in files.items():
                (folder / name).write_bytes(content)
            digest = self.home.store().publish(
                folder,
                kind=kind,
                config=sha256(b""),
                code=code_identity(),
                parents=parents,
                facts=facts,
            )[0]
        if kind != "demonstrations":

            @dg.asset(name=kind, partitions_def=recipes if kind == "aligned_policy" else None)
            def made():
                return dg.MaterializeResult(metadata={"artifact": dg.MetadataValue.text(digest)})

            assert dg.materialize(
                [made],
                instance=self.instance,
                partition_key="dpo" if kind == "aligned_policy" else None,
            ).success
        return digest

    def evaluate(self):
        """Materialize held_out_evals with its checks; gives the run, and the folder of the tree
        when it succeeded."""
        tracker = ExperimentTracker(home=self.home)
        launcher = TrainingLauncher(
            home=self.home,
            tracker=tracker,
            command=[sys.executable, str(self.folder / "worker.py")],
        )
        resources = {
            "home": self.home,
            "tracker": tracker,
            "launcher": launcher,
            "snapshots": DatasetSnapshots(home=self.home),
        }
        graph = [held_out_evals, every_sample_counted, named_checks]
        run = dg.materialize(
            graph,
            instance=self.instance,
            resources=resources,
            partition_key="dpo",
            raise_on_error=False,
        )
        return run, (
            self.home.store().open(self.loop.artifact("held_out_evals", "dpo"))
            if run.success
            else None
        )

    def release(self, policy):
        """Record a policy as champion."""
        promote(
            self.home.ledger(),
            "tiny",
            policy=policy,
            decision=sha256(policy.encode()),
            recipe="dpo",
            released_by="gates",
            by=("Ana",),
            reason="it was good",
        )


@pytest.fixture
def bench(loop, events, tmp_path):
    return Bench(loop, tmp_path, events)


def checks_of(folder):
    return {
        check.name: check
        for check in CheckReport.from_json((folder / CHECKS_FILE).read_bytes()).checks
    }


@pytest.mark.requirement("E21")
@pytest.mark.requirement("E12")
def test_the_evals_of_a_first_policy_and_of_one_that_wants_the_champion_s_place(bench):
    """First without a champion, then against it: every file, every check, every opening, and the
    champion's answers beside the others."""
    run, (folder, artifact) = bench.evaluate()
    assert set(artifact.files) >= {
        "report.json",
        "scored.jsonl",
        FILE,
        CHECKS_FILE,
        "over_optimization.json",
        "lengths.json",
        "reward_model.json",
    }
    checks = checks_of(folder)
    assert tuple(checks) == EVAL_CHECKS
    shown = {
        one.check_name: (one.passed, one.severity) for one in run.get_asset_check_evaluations()
    }
    for name, check in checks.items():
        assert shown[name.replace("-", "_")][0] == (check.verdict == "pass")
        if check.verdict != "pass":
            assert (shown[name.replace("-", "_")][1] is dg.AssetCheckSeverity.WARN) == (
                check.verdict == "inconclusive"
            )
    assert shown["every_sample_counted"][0]
    assert checks["vault-leak"].verdict == "pass"
    assert "no other policy was released before" in checks["feedback-drift"].explanation
    report = EvalReport.from_json((folder / "report.json").read_bytes())
    assert (report.champion, report.cluster) == (None, "intent")
    assert OverOptimization.from_json((folder / "over_optimization.json").read_bytes()).draws == 2
    assert read_failures(folder / FILE) is not None
    pairs = sum(1 for _ in (bench.data_folder / "validation.jsonl").open())
    assert ("calibration.json" in artifact.files) == (pairs >= 20)
    first = artifact.parents["aligned_policy"]
    assert [
        one.policy for one in openings(bench.home.ledger(), "tiny") if one.purpose == "evaluation"
    ] == [first]

    bench.release(first)
    _, (_, again) = bench.evaluate()
    assert (
        again.tree == artifact.tree
    )  # the champion is not compared with itself, and its signed decision stays what it was

    second = bench.models("second")
    _, (folder, artifact) = bench.evaluate()
    assert (artifact.parents["champion_policy"], artifact.parents["aligned_policy"]) == (
        first,
        second,
    )
    report = EvalReport.from_json((folder / "report.json").read_bytes())
    assert report.champion == first
    assert report.slices["harm"]["harmful_compliance"].champion is not None
    drift = checks_of(folder)["feedback-drift"]
    assert "turned round for the worse on 0.0%" in drift.explanation
    assert drift.verdict in ("pass", "inconclusive")  # the vault of these tests is small
    bench.release(second)
    _, (_, again) = bench.evaluate()
    assert again.tree == artifact.tree  # still against the policy that it took the place of


def test_a_champion_that_reads_other_tokens_is_named_and_gives_no_evidence(bench):
    bench.release(bench.models("old", tokenizer="sha256:other"))
    bench.models("new")
    run, (folder, artifact) = bench.evaluate()
    assert "champion_policy" not in artifact.parents
    assert artifact.facts["champion"] is not None
    assert "another tokenizer" in bench.loop.metadata("held_out_evals", "dpo")["champion"].value
    assert checks_of(folder)["feedback-drift"].verdict == "inconclusive"
    assert run.success


@pytest.mark.requirement("E3")
def test_a_refused_opening_samples_nothing(bench):
    """The suite was pinned by an opening of other prompts: the evaluation is refused before a
    worker starts."""
    vault = bench.home.store().open(bench.loop.artifact("eval_vault"))[0]
    (opening,) = [one for one in openings(bench.home.ledger(), "tiny")][:1]
    assert opening.suite == "sandbox"
    # a vault whose suite lost a prompt, materialized over the real one
    lines = (vault / "prompts.jsonl").read_bytes().splitlines(keepends=True)[1:]
    files = {"prompts.jsonl": b"".join(lines), "suites.json": (vault / "suites.json").read_bytes()}
    bench.publish("eval_vault", files, {}, {})
    run, _ = bench.evaluate()
    assert not run.success
    assert not (bench.folder / "sampled").exists()
    failure = next(event for event in run.all_events if event.is_step_failure)
    assert "VaultRefused" in str(failure.step_failure_data.error)
