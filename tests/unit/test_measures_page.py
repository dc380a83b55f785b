"""docs/measures.md and docs/boundary.md speak about what there is; docs/exercises.md names every
exercise."""

import re
from pathlib import Path

import pytest

from plumbline.exercises.catalogue import EXERCISES
from plumbline.guardrail.checks import NAME as GUARDRAIL
from plumbline.reports.release.sentences import NAMES
from plumbline.schema.checks import PRESSURES
from plumbline.schema.metrics import METRICS

DOCS = Path(__file__).resolve().parents[2] / "docs"


def rows(page):
    """Cells of every table row of a page, without the lines that make the table."""
    lines = [
        line
        for line in (DOCS / page).read_text().splitlines()
        if line.startswith("|") and not re.fullmatch(r"[|:\- ]+", line)
    ]
    return [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]


@pytest.mark.requirement("E18")
def test_every_metric_says_what_it_misses():
    said = {row[0].strip("`"): row[1:] for row in rows("measures.md")}
    assert METRICS.keys() - said.keys() == set()
    assert all(len(cells) == 3 and all(cells) for cells in said.values())


@pytest.mark.requirement("E18")
def test_every_named_check_stands_on_the_page():
    page = (DOCS / "measures.md").read_text()
    assert [
        name for name in (*PRESSURES, "vault-leak", GUARDRAIL, "clauses") if f"`{name}`" not in page
    ] == []


def test_every_metric_has_a_name_for_readers():
    assert METRICS.keys() - NAMES.keys() == set()


@pytest.mark.requirement("E20")
def test_the_boundary_says_what_is_handed_over():
    beyond = [row for row in rows("boundary.md") if len(row) == 3]
    assert len(beyond) > 8
    assert all(all(row) for row in beyond)


@pytest.mark.requirement("E22")
def test_every_exercise_stands_on_the_page():
    assert [row[0].strip("`") for row in rows("exercises.md")[1:]] == list(EXERCISES)
