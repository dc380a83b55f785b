"""What a command costs before it does its work, against a bare typer and rich app in the same run.

Run: .venv/bin/python benchmarks/command_line.py

Each line: CPU seconds (user and system, the least of several calls), and how they stand to
`--help` of the bare app. The calls take turns, so that a busy machine is busy for all of them.
"""

import json
import os
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
PLUMBLINE = [sys.executable, "-c", "from dagster_project.commands.cli import main; main()"]
CALLS = 5
BARE = """
import typer
import rich.console, rich.table

app = typer.Typer()

@app.command()
def first():
    "One command."

@app.command()
def second():
    "Another."

app()
"""
TURNS = {
    "chosen": "\n\nHuman: hi\n\nAssistant: hello",
    "rejected": "\n\nHuman: hi\n\nAssistant: no",
}


def processor_seconds(command: list[str], environment: dict[str, str]) -> float:
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(command, cwd=ROOT, env=environment, check=True, capture_output=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def main() -> None:
    with tempfile.TemporaryDirectory() as folder:
        environment = os.environ | {
            "PLUMBLINE_HOME": str(Path(folder, "home")),
            "PLUMBLINE_PROFILE": "sandbox",
        }
        row = Path(folder, "row.jsonl")
        row.write_text(json.dumps(TURNS) + "\n")
        importing = ["feedback", "import", str(row), "--format", "hh"]
        first = processor_seconds([*PLUMBLINE, *importing], environment)
        calls = {
            "bare typer and rich: --help": [sys.executable, "-c", BARE, "--help"],
            "plumbline --help": [*PLUMBLINE, "--help"],
            "plumbline release --help": [*PLUMBLINE, "release", "--help"],
            "plumbline release list": [*PLUMBLINE, "release", "list"],
            "plumbline profile check sandbox": [*PLUMBLINE, "profile", "check", "sandbox"],
            "plumbline feedback import, one row": [*PLUMBLINE, *importing],
        }
        least = {
            name: min(costs)
            for name, costs in zip(
                calls,
                zip(
                    *(
                        [processor_seconds(command, environment) for command in calls.values()]
                        for _ in range(CALLS)
                    ),
                    strict=True,
                ),
                strict=True,
            )
        }
    least["the same into a new home, once: makes the tables"] = first
    bare = next(iter(least.values()))
    for name, seconds in least.items():
        print(f"{name:50} {seconds:5.2f} s  {seconds / bare:5.1f} times  {seconds - bare:+5.2f} s")


if __name__ == "__main__":
    main()
