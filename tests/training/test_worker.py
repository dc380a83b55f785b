"""The worker: what a job gives back, and everything that stops it before a step is spent."""

import json
import os
import shutil
import subprocess
import sys

import pytest

from plumbline.objectives.masks import MaskReceipt
from plumbline.storage.code_identity import ROOT
from plumbline.storage.import_closure import import_closure
from plumbline.training import dry_run
from plumbline.training.job.kinds import METHODS, WORKER
from plumbline.training.job.spec import JobResult


def refused(bench, folder):
    code, _, errors = bench.worker(folder)
    assert code == 2, errors
    lines = [line for line in errors.splitlines() if line.strip()]
    assert len(lines) == 1, errors
    for trace in ("mask_receipt.json", "progress.jsonl", "checkpoints", "output", "result.json"):
        assert not (folder / trace).exists(), f"{trace} was written before the refusal"
    return lines[0]


def test_no_certificate_no_job(damaged):
    folder = damaged.prepare(damaged.spec("reference_policy"), "job")
    shutil.rmtree(damaged.store.root / "certificates")
    assert "certificate" in refused(damaged, folder)


def test_a_certificate_for_other_data_does_not_count(damaged):
    folder = damaged.prepare(damaged.spec("reference_policy"), "job")
    certificate = next(
        path
        for path in (damaged.store.root / "certificates").iterdir()
        if damaged.inputs["demonstrations"].tree[7:] in path.name
    )
    certificate.rename(
        certificate.with_name(
            certificate.name.replace(damaged.inputs["demonstrations"].tree[7:], "0" * 64)
        )
    )
    assert "certificate" in refused(damaged, folder)


def test_a_changed_input_is_noticed(damaged):
    folder = damaged.prepare(damaged.spec("reference_policy"), "job")
    path = (
        damaged.store.root
        / "trees"
        / damaged.inputs["demonstrations"].tree[7:]
        / "demonstrations.jsonl"
    )
    path.chmod(0o644)
    path.write_bytes(path.read_bytes().replace(b"lo siento", b"de acuerdo", 1))
    assert "demonstrations.jsonl is sha256:" in refused(damaged, folder)


def test_a_missing_input_is_noticed(damaged):
    folder = damaged.prepare(damaged.spec("reference_policy"), "job")
    shutil.rmtree(damaged.store.root / "trees" / damaged.inputs["demonstrations"].tree[7:])
    assert "not in the store" in refused(damaged, folder)


@pytest.mark.parametrize(
    ("field", "message"),
    [("source", "the spec names the training code"), ("packages", "the spec names the packages")],
)
def test_other_code_or_packages_are_refused(damaged, field, message):
    folder = damaged.prepare(
        damaged.spec("reference_policy", **{field: "sha256:" + "1" * 64}), "job"
    )
    assert message in refused(damaged, folder)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda job: job["spec"]["recipe"].update(label_smoothing=0.1), "label_smoothing"),
        (lambda job: job["spec"].update(kind="reward_model"), "reward_model"),
        (lambda job: job["spec"]["certificates"].clear(), "needs certificates"),
        (
            lambda job: job["spec"].update(chat_template="sha256:" + "1" * 64),
            "the template of the model is",
        ),
        (lambda job: job["suites"]["demonstrations"].update(minimum_rows=2), "its spec names"),
        (
            lambda job: job["inputs"]["demonstrations"].update(tree="sha256:" + "1" * 64),
            "its spec names",
        ),
    ],
)
def test_a_job_that_contradicts_itself_is_refused(damaged, change, message):
    folder = damaged.prepare(damaged.spec("reference_policy"), "job")
    job = json.loads((folder / "job.json").read_text())
    change(job)
    (folder / "job.json").write_text(json.dumps(job))
    assert message in refused(damaged, folder)


def test_a_folder_without_a_job_is_refused(damaged, tmp_path):
    (tmp_path / "empty").mkdir()
    assert "job.json: cannot be read" in refused(damaged, tmp_path / "empty")


def test_a_dry_run_verifies_and_trains_nothing(bench, capsys):
    folder = bench.prepare(bench.spec("aligned_policy"), "dry")
    assert dry_run.main(["--job", str(folder)]) == 0
    (plan,) = json.loads(capsys.readouterr().out)
    assert plan["arguments"]["beta"] == 0.1
    assert plan["arguments"]["loss_type"] == ["sigmoid", "sft"]
    assert [path.name for path in folder.iterdir()] == ["job.json"]


KINDS = ["reference_policy", "reward_model", "aligned_policy"]


@pytest.mark.parametrize("kind", KINDS)
def test_the_result_describes_the_tree(bench, kind):
    result = JobResult.from_json((bench.root / "jobs" / kind / "result.json").read_bytes())
    bench.store.verify_tree(result.tree, result.files)
    expected = {
        "history.jsonl",
        "mask_receipt.json",
        "model/config.json",
        "model/model.safetensors",
        "model/tokenizer.json",
        "model/chat_template.jinja",
    }
    assert expected <= result.files.keys()
    assert ("validation.jsonl" in result.files) == (kind != "reference_policy")
    assert not [
        name
        for name in result.files
        if "checkpoint" in name or name.endswith((".bin", ".pt", ".pth"))
    ]


@pytest.mark.parametrize("kind", KINDS)
def test_rows_in_are_rows_used_and_dropped(bench, kind):
    facts = bench.results[kind]["facts"]
    receipt = MaskReceipt.from_json((bench.root / "jobs" / kind / "mask_receipt.json").read_bytes())
    assert facts["rows"].keys() == receipt.splits.keys()
    for name, rows in facts["rows"].items():
        assert rows["in"] == rows["used"] + sum(rows["dropped"].values())
        assert (receipt.splits[name].rows_in, receipt.splits[name].rows_used) == (
            rows["in"],
            rows["used"],
        )
        assert facts["mask"][name]["digest"] == receipt.splits[name].mask_digest
        assert receipt.splits[name].sequences == rows["used"] * (
            1 if kind == "reference_policy" else 2
        )


@pytest.mark.parametrize("kind", KINDS)
def test_the_receipt_is_there_before_the_first_step(bench, kind):
    folder = bench.root / "jobs" / kind
    first_checkpoint = min(
        path.stat().st_mtime_ns for path in (folder / "checkpoints").rglob("trainer_state.json")
    )
    assert (folder / "mask_receipt.json").stat().st_mtime_ns < first_checkpoint
    tree = bench.store.root / "trees" / bench.results[kind]["tree"][7:]
    assert (folder / "mask_receipt.json").read_bytes() == (tree / "mask_receipt.json").read_bytes()


def test_the_strip_shows_prompt_and_response(bench):
    receipt = MaskReceipt.from_json(
        (bench.root / "jobs" / "reference_policy" / "mask_receipt.json").read_bytes()
    )
    strip = receipt.splits["train"].strip
    assert (strip[0].token, strip[0].supervised) == ("<|user|>", False)
    assert (strip[-1].token, strip[-1].supervised) == ("<|end|>", True)
    opening = [one.token for one in strip].index("<|assistant|>")
    assert [one.supervised for one in strip] == [False] * (opening + 1) + [True] * (
        len(strip) - opening - 1
    )


@pytest.mark.parametrize("kind", KINDS)
def test_the_history_holds_numbers_that_repeat(bench, kind):
    tree = bench.store.root / "trees" / bench.results[kind]["tree"][7:]
    lines = [json.loads(line) for line in (tree / "history.jsonl").read_bytes().splitlines()]
    assert [line["step"] for line in lines] == sorted({line["step"] for line in lines})
    assert lines[-1]["step"] == lines[-1]["total"] == bench.results[kind]["facts"]["steps"]
    assert not [
        name
        for line in lines
        for name in line["metrics"]
        if "runtime" in name or "per_second" in name or "time" in name
    ]
    assert all({"loss", "learning_rate", "grad_norm"} <= line["metrics"].keys() for line in lines)


def metrics_of(bench, kind):
    tree = bench.store.root / "trees" / bench.results[kind]["tree"][7:]
    lines = [json.loads(line) for line in (tree / "history.jsonl").read_bytes().splitlines()]
    return lines[0]["metrics"], lines[-1]["metrics"]


def test_training_learns(bench):
    """So little data generalizes hardly at all; that the losses fall on the training data is what
    tells a sign error from training."""
    for kind, fall in (("reference_policy", 1.0), ("reward_model", 0.05), ("aligned_policy", 0.1)):
        first, last = metrics_of(bench, kind)
        assert last["loss"] < first["loss"] - fall, kind
    _, last = metrics_of(bench, "aligned_policy")
    assert last["rewards/margins"] > 0
    assert last["rewards/accuracies"] > 0.5
    assert metrics_of(bench, "reward_model")[1]["accuracy"] > 0.5


def test_dpo_starts_at_chance_and_moves(bench):
    validation = bench.results["aligned_policy"]["facts"]["validation"]
    assert validation["before"]["loss"] == pytest.approx(0.693147, abs=1e-5)
    assert (validation["before"]["accuracy"], validation["before"]["reward_margin"]) == (0.5, 0.0)
    assert validation["after"]["loss"] != validation["before"]["loss"]
    tree = bench.store.root / "trees" / bench.results["aligned_policy"]["tree"][7:]
    rows = [json.loads(line) for line in (tree / "validation.jsonl").read_bytes().splitlines()]
    margin = sum(row["chosen"] - row["rejected"] for row in rows) / len(rows)
    assert validation["after"]["reward_margin"] == pytest.approx(margin, abs=1e-5)


def test_the_reward_model_starts_from_the_reference_policy(bench):
    from safetensors.torch import load_file

    from plumbline.training.models.weights import weights_digest

    tree = bench.store.root / "trees" / bench.results["reference_policy"]["tree"][7:]
    weights = load_file(tree / "model" / "model.safetensors")
    backbone = {
        name.removeprefix("model."): tensor
        for name, tensor in weights.items()
        if name.startswith("model.")
    }
    assert bench.results["reward_model"]["facts"]["backbone"] == weights_digest(backbone)


def test_one_tokenizer_all_along(bench):
    facts = [bench.results[kind]["facts"] for kind in KINDS]
    assert (
        len({one["tokenizer"] for one in facts})
        == len({one["chat_template"] for one in facts})
        == 1
    )


LOADED = """
import sys
from pathlib import Path
from plumbline.training.worker import run_job
run_job(Path(sys.argv[1]), lambda line: None)
print("\\n".join(name for name in sys.modules if name.partition(".")[0] == "plumbline"))
"""


@pytest.mark.parametrize("method", METHODS, ids=[method.kind for method in METHODS])
def test_a_job_loads_no_module_that_its_spec_does_not_hash(bench, method):
    folder = bench.prepare(bench.spec(method.kind), f"loaded-{method.kind}")
    done = subprocess.run(
        [sys.executable, "-c", LOADED, str(folder)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        env={**os.environ, "PYTHONPATH": str(ROOT)},
    )
    assert done.returncode == 0, done.stderr
    loaded = set(done.stdout.split())
    assert method.module in loaded
    assert loaded <= import_closure(WORKER, method.module).keys()
