"""The data plane at size: rows per second, peak memory, and what one more batch costs, beside the
plain way in the same run.

Run: .venv/bin/python benchmarks/data_plane.py [--pairs N]

Feedback of N pairs (about 600 characters each: prompt and two responses) is made once. Then, each
in a process of its own:

- `feedback`: every line is parsed strictly, screened, indexed and sketched, in batches of 1 %;
- `build`: votes are counted, held-out prompts and near duplicates found, the pairs split and
  written;
- `check`: the written pairs are read back into the audit frame and validated by the suite of Great
  Expectations;
- `one more`: the same with 1 % more events: `feedback` on the new batch only, `build` with the
  search of the others remembered;
- `plain`: the way without an index: `datasets` reads the JSON, pandas holds the text and checks it
  (the same columns, exact duplicates, equal held-out prompts, a grouped split), and the splits are
  written. It neither parses strictly nor finds near duplicates or contained prompts.

Seconds are processor time, because the machine may be shared; peak memory is the largest resident
set of the process.
"""

import argparse
import hashlib
import json
import os
import random
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
BATCHES = 100
STAGES = ("feedback", "build", "check", "feedback of one more", "build with one more", "plain")


def vocabulary() -> list[str]:
    generator = random.Random(0)
    syllables = [
        a + b for a in "bdfgklmnprstv" for b in ("a", "e", "i", "o", "u", "an", "er", "il")
    ]
    return ["".join(generator.choices(syllables, k=generator.randint(1, 3))) for _ in range(8000)]


UNSAID = {
    "ratings": [],
    "acceptable": [],
    **dict.fromkeys(("clause", "reason", "attack", "redacted_from")),
    "provenance": dict.fromkeys(("approved_by", "filtered_by", "written_by"), "b"),
    "consent": {
        "expires": None,
        "given_by": None,
        "scope": "training",
        "version": "public-dataset",
    },
    "rubric": "helpful-harmless@1",
    "synthetic": False,
}
"""Fields that are alike in every event."""


def make_events(path: Path, held_out: Path, pairs: int) -> None:
    """One event a line; 5 % repeat an earlier prompt, 2 % an earlier pair with a word changed, 1 %
    hold a held-out prompt, 5 % judge an earlier pair again."""
    from plumbline.records import canonical_json
    from plumbline.schema.identifiers import content_id

    generator, words = random.Random(1), vocabulary()

    def text(low: int, high: int) -> str:
        return " ".join(generator.choices(words, k=generator.randint(low, high)))

    context = {"domain": "bench", "locale": "en", "slice": "unsliced"}
    vault = [[{"role": "user", "content": text(15, 30)}] for _ in range(1000)]
    with held_out.open("wb") as stream:
        for prompt in vault:
            row = {"prompt": prompt, "expected": "unknown", "context": context, "facts": {}}
            stream.write(canonical_json({"id": content_id(prompt), **row}))
    source = {"chat_template": "t", "decoder": None, "policy": "p", "role_format": "conversation"}
    start, recent = datetime(2026, 1, 5, tzinfo=UTC), []
    with path.open("wb") as stream:
        for number in range(pairs):
            kind, prompt, responses = generator.random(), text(15, 30), [text(25, 55), text(25, 55)]
            if recent and kind < 0.12:
                earlier, texts = generator.choice(recent)
                prompt = earlier
                responses = (
                    responses
                    if kind < 0.05
                    else (
                        [texts[0] + " " + generator.choice(words), texts[1]]
                        if kind < 0.07
                        else texts
                    )
                )
            elif kind > 0.99:
                prompt = "Please: " + generator.choice(vault)[0]["content"] + " now"
            recent = [*recent[-500:], (prompt, responses)] if number % 20 == 0 else recent
            event = {
                "prompt": [{"role": "user", "content": prompt}],
                "responses": [{"source": source, "text": text} for text in responses],
                "judgment": {
                    "kind": "comparison",
                    "preferred": generator.choice([0, 0, 1]),
                    "strength": generator.randint(0, 3),
                },
                **UNSAID,
                "annotator": f"r{number % 40}",
                "context": context,
                "time": (start + timedelta(seconds=number)).strftime("%Y-%m-%dT%H:%M:%SZ"),
            }
            stream.write(canonical_json({"id": content_id(event), **event}))


def feedback(folder: Path, pairs: int, first: int, last: int) -> int:
    """Screen and index batches `first` to `last`, 1 % of the events each."""
    from plumbline.data.batch_index.index import write_batch
    from plumbline.data.screening.admission import AdmissionCounts, admit_into
    from plumbline.profile.profile import CONFIGS, load_profile
    from plumbline.schema.rubric import load_rubric

    profile = load_profile("real-data-cpu")
    policy, size = load_rubric(CONFIGS / profile.rubric), pairs // BATCHES
    path = folder / "events.jsonl"
    with path.open("rb") as stream:
        for _ in range(first * size):
            stream.readline()
        for number in range(first, last):
            target = folder / "batches" / f"{number:03d}"
            target.mkdir(parents=True, exist_ok=True)
            admitted = admit_into(
                target,
                parsed(stream, size),
                policy,
                datetime(2026, 6, 1, tzinfo=UTC),
                AdmissionCounts(),
            )
            write_batch(target, admitted, profile.preferences.near_duplicates)
    return (last - first) * size


def parsed(stream: object, count: int) -> Iterator[object]:
    from itertools import islice

    from plumbline.schema.feedback import FeedbackEvent
    from plumbline.storage.jsonl import parse_record

    for line in islice(stream, count):
        yield parse_record(line.rstrip(b"\n"), FeedbackEvent)


def build(folder: Path, batches: int, target: str) -> str:
    from plumbline.data.preferences.build import build_preferences
    from plumbline.profile.profile import CONFIGS, load_profile
    from plumbline.schema.held_out import EvalPrompt
    from plumbline.schema.rubric import load_rubric
    from plumbline.storage.jsonl import read_records

    profile = load_profile("real-data-cpu")
    folders = [folder / "batches" / f"{number:03d}" for number in range(batches)]
    vault = read_records(folder / "held_out.jsonl", EvalPrompt)
    rubric, remembered = load_rubric(CONFIGS / profile.rubric), folder / "remembered"
    counts = build_preferences(
        folders,
        folder / target,
        rubric,
        profile.preferences,
        profile.seed,
        vault,
        remembered=remembered,
    ).counts
    return ", ".join(
        f"{counts[name]} {name}"
        for name in (
            "events",
            "pairs",
            "pairs near others",
            "pairs on held-out prompts",
            "pairs to adjudicate",
        )
    )


def check(folder: Path) -> str:
    from plumbline.data.quality.audit_frames import preference_frame
    from plumbline.profile.profile import CONFIGS, load_profile
    from plumbline.schema.held_out import EvalPrompt
    from plumbline.schema.preferences import PreferencePair
    from plumbline.schema.rubric import load_rubric
    from plumbline.schema.suites import load_suite
    from plumbline.storage.jsonl import read_records
    from resources.expectations import validate

    profile = load_profile("real-data-cpu")
    splits = {
        name: read_records(folder / "data" / f"{name}.jsonl", PreferencePair)
        for name in ("train", "validation", "calibration")
    }
    vault = read_records(folder / "held_out.jsonl", EvalPrompt)
    frame = preference_frame(
        splits, vault, load_rubric(CONFIGS / profile.rubric), profile.preferences.contamination
    )
    results = validate(frame, load_suite(CONFIGS / profile.preferences.suite))
    return (
        f"{len(frame)} pairs, {sum(result.status == 'pass' for result in results)} of"
        f" {len(results)} expectations pass"
    )


def plain(folder: Path, pairs: int) -> str:
    """The same checks with text in a pandas frame."""
    import pandas
    from datasets import load_dataset

    lines = (folder / "events.jsonl").open()
    with (folder / "plain.jsonl").open("w") as stream:
        stream.writelines(line for number, line in enumerate(lines) if number < pairs)
    data = load_dataset(
        "json",
        data_files=str(folder / "plain.jsonl"),
        split="train",
        cache_dir=str(folder / "cache"),
    )
    data = data.map(
        lambda row: {
            "question": row["prompt"][0]["content"],
            "chosen": row["responses"][row["judgment"]["preferred"]]["text"],
            "rejected": row["responses"][1 - row["judgment"]["preferred"]]["text"],
            "scope": row["consent"]["scope"],
        },
        remove_columns=[name for name in data.column_names if name not in ("id", "rubric")],
    )
    frame = data.to_pandas()
    held = {
        json.loads(line)["prompt"][0]["content"].casefold()
        for line in (folder / "held_out.jsonl").open()
    }
    for name in ("question", "chosen", "rejected"):
        frame[f"{name}_characters"] = frame[name].str.strip().str.len()
        frame[f"{name}_token"] = frame[name].str.contains(r"<\|[a-z_]+\|>", regex=True)
    key = frame["question"].str.normalize("NFKC").str.casefold().str.split().str.join(" ")
    keep = (
        (frame["chosen"].str.strip() != frame["rejected"].str.strip())
        & (frame["scope"] == "training")
        & ~key.isin(held)
    )
    keep &= ~frame[["question_token", "chosen_token", "rejected_token"]].any(axis=1) & (
        frame[[c for c in frame if c.endswith("characters")]] > 0
    ).all(axis=1)
    frame = frame[keep].drop_duplicates(["question", "chosen", "rejected"])
    side = key[frame.index].map(
        lambda text: int(hashlib.sha256(text.encode()).hexdigest()[:8], 16) / 2**32
    )
    for name, mask in (
        ("validation", side < 0.1),
        ("calibration", (side >= 0.1) & (side < 0.15)),
        ("train", side >= 0.15),
    ):
        pandas.DataFrame(frame[mask]).to_json(
            folder / f"plain-{name}.jsonl", orient="records", lines=True, force_ascii=False
        )
    return f"{len(frame)} pairs"


def stage(name: str, folder: Path, pairs: int) -> object:
    if name == "feedback":
        return feedback(folder, pairs, 0, BATCHES)
    if name == "feedback of one more":
        return feedback(folder, pairs, BATCHES, BATCHES + 1)
    if name == "build":
        return build(folder, BATCHES, "data")
    if name == "build with one more":
        return build(folder, BATCHES + 1, "data-more")
    return check(folder) if name == "check" else plain(folder, pairs)


def measured(name: str, folder: Path, pairs: int) -> dict[str, float]:
    """Run one stage in a process of its own."""
    command = [
        sys.executable,
        __file__,
        "--pairs",
        str(pairs),
        "--stage",
        name,
        "--folder",
        str(folder),
    ]
    answer = subprocess.run(
        command,
        check=True,
        stdout=subprocess.PIPE,
        env=os.environ
        | {
            "HF_DATASETS_OFFLINE": "1",
            "HF_DATASETS_DISABLE_PROGRESS_BARS": "1",
            "OMP_NUM_THREADS": "1",
        },
    )
    measurement = json.loads(answer.stdout.splitlines()[-1])
    print(
        f"  {name:22s} {measurement['cpu']:8.1f} cpu s {measurement['wall']:8.1f} s"
        f" {measurement['peak'] / 2**20:8.0f} MiB  {measurement['result']}",
        flush=True,
    )
    return measurement


def main() -> None:
    """Make the events, run every stage, print the figures."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=int, default=100_000)
    parser.add_argument("--stage", choices=STAGES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    given = parser.parse_args()
    if given.stage:
        began = time.monotonic()
        result = stage(given.stage, given.folder, given.pairs)
        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = usage.ru_utime + usage.ru_stime
        print(
            json.dumps(
                {
                    "cpu": cpu,
                    "wall": time.monotonic() - began,
                    "peak": usage.ru_maxrss * 1024,
                    "result": result,
                }
            )
        )
        return
    with tempfile.TemporaryDirectory(prefix="plumbline-data-plane-") as temporary:
        folder = Path(temporary)
        print(f"{given.pairs} pairs", flush=True)
        make_events(
            folder / "events.jsonl", folder / "held_out.jsonl", given.pairs + given.pairs // BATCHES
        )
        size = (folder / "events.jsonl").stat().st_size
        print(f"  {size / 2**20:.0f} MiB of events", flush=True)
        times = {name: measured(name, folder, given.pairs) for name in STAGES}
        whole = times["feedback"]["cpu"] + times["build"]["cpu"]
        more = times["feedback of one more"]["cpu"] + times["build with one more"]["cpu"]
        rates = {
            "all stages": given.pairs / (whole + times["check"]["cpu"]),
            "plain": given.pairs / times["plain"]["cpu"],
        }
        print(
            "  pairs per cpu second: "
            + ", ".join(f"{name} {rate:.0f}" for name, rate in rates.items())
        )
        print(
            f"  one more batch of 1 %: {more:.1f} cpu s, {more / whole:.1%} of the whole"
            f" ({whole:.1f} cpu s)"
        )


if __name__ == "__main__":
    main()
