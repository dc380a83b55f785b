"""The pages of the project say nothing about files, commands and variables that is not so."""

import importlib.util
import re
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from urllib.parse import unquote

import pytest
import typer

from plumbline.cli.app import build_app
from plumbline.cli.lazy import LazyCommand
from plumbline.cli.profile.reference_page import configuration_page

ROOT = Path(__file__).resolve().parent.parent
ARCHITECTURE = ROOT / "docs" / "architecture.md"
PAGES = [
    path
    for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md", "findings/README.md")
    if (path := ROOT / name).exists()
] + sorted((ROOT / "docs").rglob("*.md"))
PACKAGES = ("plumbline", "resources", "assets", "dagster_project")
FOLDERS = (*PACKAGES, "configs", "docs", "findings", "tests", "benchmarks", ".ci")
TOP_LEVEL = (
    "Makefile",
    "LICENSE",
    "README.md",
    "CHANGELOG.md",
    "CONTRIBUTING.md",
    "constraints.txt",
    "dagster.yaml",
    "pyproject.toml",
    "workspace.yaml",
)

FENCE = re.compile(r"^(```|~~~)[^\n]*\n(.*?)^\1[ ]*$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"(?<!`)`([^`\n]+)`(?!`)")
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)(?:\s+\"[^\"]*\")?\)")
COMMAND = re.compile(
    r"(?<!from )(?<!import )(?:(?<=^)|(?<=[\s/;&|(]))plumbline((?: [a-z][a-z|-]*)+|(?= --))((?:"
    r" --[a-z-]+)*)",
    re.MULTILINE,
)

every_page = pytest.mark.parametrize(
    "page", PAGES, ids=lambda page: page.relative_to(ROOT).as_posix()
)


def prose(page: Path) -> str:
    """A page without code."""
    return SPAN.sub("", FENCE.sub("", page.read_text()))


def code(page: Path) -> list[str]:
    """Code spans and fenced blocks of a page."""
    text = page.read_text()
    return [*SPAN.findall(FENCE.sub("", text)), *(body for _, body in FENCE.findall(text))]


def anchors(page: Path) -> set[str]:
    """Names that a link can jump to: headings as GitHub writes them, numbered when they repeat."""
    found: set[str] = set()
    for heading in re.findall(
        r"^#{1,6}\s+(.+?)\s*$", FENCE.sub("", page.read_text()), re.MULTILINE
    ):
        slug = re.sub(
            r"[^\w\- ]", "", LINK.sub(lambda link: link.group().split("](")[0][1:], heading).lower()
        ).replace(" ", "-")
        found.add(
            slug
            if slug not in found
            else next(f"{slug}-{n}" for n in range(1, 99) if f"{slug}-{n}" not in found)
        )
    return found


def make_targets() -> set[str]:
    return set(re.findall(r"^([a-z][a-z-]*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def command_problem(words: list[str], options: list[str]) -> str | None:
    """Why the command line has no such command or option, or None. Words after a command are its
    arguments."""
    command = typer.main.get_command(build_app())
    path = "plumbline"
    accepted = {"--help"}
    for word in words:
        below = getattr(command, "commands", None)
        if below is None:
            break
        shown = sorted(name for name, inner in below.items() if not inner.hidden)
        if word not in shown:
            return f"`{path}` has no command `{word}`; it has {', '.join(shown)}"
        command, path = below[word], f"{path} {word}"
        command = command.load() if isinstance(command, LazyCommand) else command
    accepted |= {
        name
        for parameter in command.params
        for name in (*parameter.opts, *parameter.secondary_opts)
    }
    unknown = sorted(set(options) - accepted)
    return f"`{path}` has no option {', '.join(unknown)}" if unknown else None


def commands(text: str) -> Iterator[tuple[list[str], list[str]]]:
    """(words, options) of every `plumbline ...` in a piece of code."""
    for words, options in COMMAND.findall(text):
        yield words.replace("|", " ").split(), options.split()


def looks_like_a_file(span: str) -> bool:
    if not re.fullmatch(r"[\w.-]+(?:/[\w.-]*)*", span):
        return False  # a placeholder, a pattern, a command
    return (
        span in TOP_LEVEL
        or (span.split("/")[0] in FOLDERS and "/" in span)
        or ("/" in span and span.endswith((".py", ".md", ".yaml")))
    )


@every_page
def test_links_lead_somewhere(page):
    broken = []
    for target in LINK.findall(prose(page)):
        if re.match(r"[a-z][a-z0-9+.-]*:", target):
            continue
        path, _, anchor = unquote(target).partition("#")
        file = (page.parent / path).resolve() if path else page
        if not file.exists():
            broken.append(f"{target}: there is no {path}")
        elif ROOT not in file.parents:
            broken.append(f"{target}: leaves the project")
        elif anchor and file.suffix == ".md" and anchor not in anchors(file):
            broken.append(f"{target}: {file.name} has no heading '{anchor}'")
    assert broken == []


@every_page
def test_named_make_targets_exist(page):
    named = {target for text in code(page) for target in re.findall(r"\bmake ([a-z][a-z-]*)", text)}
    assert sorted(named - make_targets()) == []


@every_page
def test_named_files_exist(page):
    named = [
        span for span in SPAN.findall(FENCE.sub("", page.read_text())) if looks_like_a_file(span)
    ]
    assert [
        name for name in named if not (ROOT / name).exists() and not (page.parent / name).exists()
    ] == []


@every_page
def test_named_commands_exist(page):
    assert [
        problem
        for text in code(page)
        for words, options in commands(text)
        if (problem := command_problem(words, options))
    ] == []


@every_page
def test_named_variables_are_read(page):
    sources = [
        *(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")),
        ROOT / "Makefile",
    ]
    known = {
        name for path in sources for name in re.findall(r"\bPLUMBLINE_[A-Z_]+", path.read_text())
    }
    assert sorted(set(re.findall(r"\bPLUMBLINE_[A-Z_]+", page.read_text())) - known) == []


def test_the_makefile_names_commands_that_exist():
    assert [
        problem
        for words, options in commands((ROOT / "Makefile").read_text())
        if (problem := command_problem(words, options))
    ] == []


def test_the_configuration_reference_is_generated():
    page = ROOT / "docs" / "configuration.md"
    assert page.is_file(), "run `make docs`"
    assert page.read_text(encoding="utf-8") == configuration_page(), (
        "docs/configuration.md is out of date; run `make docs`"
    )


def test_decision_records_are_numbered_complete_and_linked():
    records = sorted((ROOT / "docs" / "adr").glob("*.md"))
    assert [path.name[:5] for path in records] == [
        f"{number:04d}-" for number in range(1, len(records) + 1)
    ]
    linked = set(LINK.findall(prose(ARCHITECTURE)))
    assert [path.name for path in records if f"adr/{path.name}" not in linked] == []
    for path in records:
        assert re.findall(r"^## (.+)$", path.read_text(), re.MULTILINE) == [
            "Context",
            "Decision",
            "Consequences",
            "Rejected",
        ], path.name


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("plumbline audit trace policy 0123ab", None),
        (".venv/bin/plumbline profile check sandbox", None),
        ("python -m plumbline audit trace release --json", None),
        ("plumbline audit trace release --jsn", "no option --jsn"),
        ("plumbline tracce", "no command `tracce`"),
        ("plumbline profile chek sandbox", "no command `chek`"),
    ],
)
def test_the_search_for_commands_finds_mistakes(text, problem):
    found = [command_problem(words, options) for words, options in commands(text)]
    assert len(found) == 1
    assert (found[0] is None) if problem is None else (problem in found[0])


def test_code_that_imports_the_library_is_no_command():
    assert (
        list(commands("from plumbline import artifacts\nimport plumbline\nls plumbline/ tests"))
        == []
    )


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ("plumbline/storage/artifacts.py", True),
        ("configs/suites/", True),
        ("Makefile", True),
        ("adr/0001.md", True),
        ("configs/<name>.yaml", False),
        ("tests/*.py", False),
        ("make test", False),
        ("checkpoints/", False),
        ("job.json", False),
        ("release/hold", False),
    ],
)
def test_what_looks_like_a_file(span, expected):
    assert looks_like_a_file(span) is expected


def generator_in(name: str) -> ModuleType:
    """A generator of pages, which is a script beside the tests."""
    spec = importlib.util.spec_from_file_location(name, ROOT / "tests" / f"{name}.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_every_requirement_has_a_test_and_every_marker_a_requirement():
    generator = generator_in("requirements_page")
    promised = {
        (marker, row)
        for marker, sections in generator.MARKERS.items()
        for section in sections
        for row in generator.rows()[section]
    }
    assert promised - generator.proofs().keys() == set(), (
        "rows of docs/requirements.yaml that no test names"
    )
    assert generator.proofs().keys() - promised == set(), (
        "markers that name no row of docs/requirements.yaml"
    )
    assert [
        mark for mark, tests in generator.proofs().items() if generator.shown(mark, tests) is None
    ] == [], "proofs of docs/requirements.yaml that do not carry the marker of their row"


def test_the_requirements_page_is_current():
    generator = generator_in("requirements_page")
    assert generator.PAGE.read_text() == generator.page(), (
        "docs/requirements.md is stale: run `make docs`"
    )


def test_the_drawing_of_the_layers_is_that_of_the_contract():
    generator = generator_in("layers_page")
    assert generator.PAGE.read_text() == generator.page(), (
        "docs/architecture.md is stale: run `make docs`"
    )
    assert len(generator.PAGE.read_text().splitlines()) <= 250, "the rooms, not the modules"
