"""The command line as a whole: its groups, its old names, and what it does not load."""

import os
import subprocess
import sys
from collections.abc import Iterator

import pytest
import typer
from typer.core import TyperGroup
from typer.testing import CliRunner, Result

from plumbline import __version__
from plumbline.cli.app import build_app
from plumbline.cli.commands import COMMANDS, GROUPS, MOVED
from plumbline.cli.lazy import Entry, LazyCommand
from plumbline.cli.orchestrator import Orchestrator

ENTRIES = {
    **{(name,): entry for name, entry in COMMANDS.items()},
    **{
        (group, name): entry
        for group, (_, entries) in GROUPS.items()
        for name, entry in entries.items()
    },
}
HEAVY = {
    "alembic",
    "cryptography",
    "dagster",
    "matplotlib",
    "mlflow",
    "numpy",
    "pandas",
    "polars",
    "pyarrow",
    "sqlalchemy",
    "torch",
}


def run(*words: str) -> Result:
    return CliRunner().invoke(build_app(), list(words))


def visible(group: TyperGroup, *path: str) -> Iterator[tuple[str, ...]]:
    for name, command in group.commands.items():
        if command.hidden:
            continue
        inner = command.load() if isinstance(command, LazyCommand) else command
        if isinstance(inner, TyperGroup):
            yield from visible(inner, *path, name)
        else:
            yield (*path, name)


def test_at_most_nine_names_stand_at_the_top():
    root = typer.main.get_command(build_app())
    shown = [name for name, command in root.commands.items() if not command.hidden]
    assert shown == [
        "feedback",
        "data",
        "evaluate",
        "release",
        "audit",
        "profile",
        "people",
        "sandbox",
        "ui",
    ]


@pytest.mark.parametrize(("path", "entry"), ENTRIES.items(), ids=map(" ".join, ENTRIES))
def test_the_line_in_the_table_is_the_first_of_the_command_s_own_help(path, entry: Entry):
    own = LazyCommand(path[-1], entry).load()
    assert entry.help == (own.help or "").split("\n\n")[0]


def test_every_command_shows_its_help():
    paths = list(visible(typer.main.get_command(build_app())))
    assert len(paths) > 60
    for path in paths:
        result = run(*path, "--help")
        assert result.exit_code == 0, result.output
        assert f"Usage: plumbline {' '.join(path)}" in " ".join(result.stdout.split())


@pytest.mark.parametrize(("name", "place"), MOVED.items())
def test_an_old_name_says_the_new_one_and_runs_nothing(name, place):
    result = run(name, "show", "a b", "--json", "--help")
    assert result.exit_code == 2
    assert result.stdout == ""
    assert result.stderr == (
        f"error: `plumbline {name}` is now `plumbline {place}`; type"
        f" `plumbline {place} show 'a b' --json --help`\n"
    )
    *groups, last = place.split()
    assert last == name
    assert tuple(place.split()) in ENTRIES
    assert groups[0] not in MOVED


def test_old_names_are_not_in_the_help():
    listed = {line.split()[1] for line in run("--help").stdout.splitlines() if line[:3] == "│ "}
    assert not listed & set(MOVED)


def test_a_name_that_never_was_is_refused_with_the_nearest():
    result = run("realese", "list")
    assert result.exit_code == 2
    assert "No such command 'realese'. Did you mean 'release'?" in result.stderr


def test_the_version_names_the_package_and_the_commit():
    result = run("--version")
    assert result.exit_code == 0
    assert result.stdout.startswith(f"plumbline {__version__}")


def test_without_an_orchestrator_there_is_no_ui():
    result = run("ui")
    assert result.exit_code == 2
    assert "the installed `plumbline` command starts Dagster and MLflow" in result.stderr


@pytest.mark.parametrize(
    ("line", "offered"),
    [
        ("plumbline re", ["release"]),
        ("plumbline release re", ["report", "review", "reconcile", "recheck"]),
        ("plumbline evaluate judge re", ["refusals", "reliability"]),
        ("plumbline profile rubric proposals d", ["draft", "decline"]),
        ("plumbline audit trace --of", ["--offline"]),
        ("plumbline trace ", []),
    ],
)
def test_a_shell_completes_names_of_today_alone(line: str, offered: list[str]) -> None:
    asked = {
        "_PLUMBLINE_COMPLETE": "complete_bash",
        "COMP_WORDS": line,
        "COMP_CWORD": str(line.count(" ")),
    }
    code = "from plumbline.cli.app import build_app\nbuild_app()(prog_name='plumbline')"
    done = subprocess.run(
        [sys.executable, "-c", code],
        env=os.environ | asked,
        capture_output=True,
        text=True,
        timeout=60,
    )
    assert done.stdout.split() == offered


def loaded(*words: str) -> set[str]:
    """Heavy packages, and modules of the command line, that a call has loaded when it ends."""
    code = (
        "import sys\nfrom plumbline.cli.app import build_app\ntry:\n    build_app()()\nfinally:\n"
        "    print(*sys.modules)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code, *words], capture_output=True, text=True, timeout=60
    )
    return set(done.stdout.splitlines()[-1].split())


def test_help_loads_no_command():
    for words in (["--help"], ["release", "--help"], ["evaluate", "--help"]):
        modules = loaded(*words)
        rooms = {name for name in modules if name.startswith("plumbline.")}
        assert rooms <= {
            "plumbline.cli",
            "plumbline.cli.app",
            "plumbline.cli.commands",
            "plumbline.cli.lazy",
            "plumbline.cli.orchestrator",
            "plumbline.errors",
            "plumbline.text",
            "plumbline.text.unsafe_characters",
        }
        assert not modules & HEAVY


def test_commands_that_read_the_record_load_nothing_heavy(tmp_path):
    for words in (["release", "list", "--home", str(tmp_path)], ["profile", "check", "sandbox"]):
        assert not loaded(*words) & HEAVY


def test_the_ui_is_served_by_the_orchestrator():
    given = []

    def serve(port: int | None, mlflow_port: int | None, read_only: bool) -> int:
        given.append((port, mlflow_port, read_only))
        return 1

    app = build_app(Orchestrator(ui=serve))
    result = CliRunner().invoke(app, ["ui", "--port", "3999", "--read-only"])
    assert (result.exit_code, given) == (1, [(3999, None, True)])
