"""A worker that is killed ends, when it is started again, with the very bytes of one that never
was."""

import json
import signal
import time
from pathlib import Path

import pytest


def kill_when(bench, folder: Path, seen) -> None:
    """Start a worker and SIGKILL it as soon as `seen` is true."""
    process = bench.start(folder)
    deadline = time.monotonic() + 240
    while not seen():
        assert process.poll() is None, (
            f"the worker ended before it could be killed: {process.communicate()}"
        )
        assert time.monotonic() < deadline, "the worker did not get there"
        time.sleep(0.001)
    process.kill()
    process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert not (folder / "result.json").exists()


def history(folder: Path) -> list[dict]:
    return [
        json.loads(line) for line in (folder / "output" / "history.jsonl").read_bytes().splitlines()
    ]


@pytest.mark.parametrize("kind", ["reference_policy", "reward_model", "aligned_policy"])
def test_killed_after_a_checkpoint(bench, kind):
    folder = bench.prepare(bench.spec(kind), f"killed-{kind}")
    kill_when(bench, folder, (folder / "checkpoints" / "checkpoint-10.manifest.json").exists)
    with (folder / "progress.jsonl").open("ab") as stream:
        stream.write(b'{"step": 1')  # a line that the kill cut short
    result = bench.run(folder)
    assert result["facts"]["resumed_from"] >= 10
    assert result["tree"] == bench.results[kind]["tree"]
    assert bench.results[kind]["facts"]["resumed_from"] is None
    lines = [json.loads(line) for line in (folder / "progress.jsonl").read_text().splitlines()]
    by_step = {}
    for line in lines:
        if "loss" in line["metrics"]:
            assert by_step.setdefault(line["step"], line["metrics"]) == line["metrics"], (
                "a repeated step reports other numbers"
            )
    assert sorted(by_step) == [line["step"] for line in history(folder)]


def test_killed_while_saving_and_with_a_damaged_checkpoint(bench):
    """The newest checkpoint lacks files, the one before is truncated: the third is used, and the
    bytes still agree."""
    folder = bench.prepare(bench.spec("reference_policy"), "killed-twice")
    checkpoints = folder / "checkpoints"
    kill_when(bench, folder, (checkpoints / "checkpoint-15" / "model.safetensors").exists)
    newest = max(
        (path for path in checkpoints.glob("checkpoint-*.manifest.json")),
        key=lambda path: int(path.name.split("-")[1].split(".")[0]),
    )
    damaged = newest.with_name(newest.name.removesuffix(".manifest.json")) / "model.safetensors"
    damaged.write_bytes(damaged.read_bytes()[:1000])
    partial = checkpoints / "checkpoint-30"
    partial.mkdir()
    (partial / "model.safetensors").write_bytes(b"half")
    code, output, errors = bench.worker(folder)
    assert code == 0, errors
    assert "removed checkpoint-30: it has no manifest" in output
    assert (
        f"removed {damaged.parent.name}: these files differ from its manifest: model.safetensors"
        in output
    )
    result = json.loads((folder / "result.json").read_text())
    assert result["facts"]["resumed_from"] in (5, 10)
    assert result["tree"] == bench.results["reference_policy"]["tree"]
