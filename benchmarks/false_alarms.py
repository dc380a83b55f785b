"""How often the gates stop a world without a defect.

Run: .venv/bin/python benchmarks/false_alarms.py [--worlds N] [--first SEED] [--output
tests/gallery/false_alarms.json]

Each world of the gallery (tests/gallery/worlds.py) is drawn anew with its seed: other intents held
out, other annotations, other answers of policies that learned what they should. Every gate is run
on it. A gate that does not let it pass, because it fails or because it cannot tell, is a false
alarm. Rates have exact intervals (Clopper and Pearson 1934); gates that never fired are summed up
in one line.
"""

import argparse
import gc
import os
import sys
import time
from collections import Counter
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))
os.environ.setdefault("PLUMBLINE_CONFIGS", str(ROOT / "configs"))
LEVEL = 0.95


def alarms(first: int, worlds: int, output: Path | None) -> None:
    from plumbline.records import canonical_json
    from tests.gallery.inspection import inspect
    from tests.gallery.worlds import clean_world, forget

    counts, stopped, gates, begin = Counter[str](), 0, set[str](), time.monotonic()
    for number, seed in enumerate(range(first, first + worlds), start=1):
        verdicts = inspect(clean_world(seed))
        fired = {gate: what for gate, what in verdicts.items() if what is not None}
        counts.update(fired.keys())
        stopped += bool(fired)
        gates |= verdicts.keys()
        forget()
        gc.collect()
        for gate, what in fired.items():
            print(f"world {seed}: {gate}: {what}", flush=True)
        print(
            f"{number} of {worlds} worlds in {time.monotonic() - begin:.0f} s, {stopped} stopped",
            flush=True,
        )
        if output is not None:
            fields = {
                "worlds": number,
                "first": first,
                "stopped": stopped,
                "gates": {gate: counts[gate] for gate in sorted(gates)},
            }
            output.write_bytes(canonical_json(fields))
    report(number, stopped, {gate: counts[gate] for gate in sorted(gates)})


def report(worlds: int, stopped: int, counts: dict[str, int]) -> None:
    from plumbline.statistics.intervals import exact_proportion

    def text(count: int) -> str:
        verdicts = exact_proportion(count, worlds, LEVEL)
        return f"{verdicts.value:.1%} [{verdicts.low:.1%}, {verdicts.high:.1%}]"

    print(f"\n{worlds} clean worlds, {len(counts)} gates")
    print(f"worlds that any gate stopped: {stopped}, {text(stopped)}")
    for gate, count in sorted(counts.items(), key=lambda item: (-item[1], item[0])):
        if count:
            print(f"  {gate}: {count}, {text(count)}")
    silent = [gate for gate, count in counts.items() if not count]
    print(f"never fired: {len(silent)} gates, each {text(0)}")


if __name__ == "__main__":
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--worlds", type=int, default=100)
    parser.add_argument("--first", type=int, default=1)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    alarms(arguments.first, arguments.worlds, arguments.output)
