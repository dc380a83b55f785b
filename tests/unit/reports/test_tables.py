"""Cells of tables, counted and rounded by hand."""

import pytest

from plumbline.reports.tables import cut, format_estimate, markdown_table
from plumbline.schema.estimates import Estimate


@pytest.mark.parametrize(
    ("metric", "value", "low", "high", "signed", "text"),
    [
        ("correctness", 0.5, 0.4, 0.6, False, "50.0% [40.0, 60.0]"),
        ("correctness", -0.0001, -0.05, 0.05, True, "+0.0% [-5.0, +5.0]"),
        ("utility", 1.024, 0.98, 1.06, False, "1.02 [0.98, 1.06]"),
        ("tokens", 17.46, 17.2, 17.7, False, "17.5 [17.2, 17.7]"),
    ],
)
def test_estimates_in_words(metric, value, low, high, signed, text):
    estimate = Estimate(value=value, low=low, high=high, level=0.95, n=10, unscored=0, method="t")
    assert format_estimate(estimate, metric, signed=signed) == text


def test_a_long_text_is_one_line_that_ends_in_an_ellipsis():
    assert cut("a\n b  c", width=5) == "a b c"
    assert cut("a\n b  cd", width=5) == "a b \N{HORIZONTAL ELLIPSIS}"


def test_a_table_in_markdown():
    assert markdown_table(("a", ""), [("1", "2"), ("3", "")]) == [
        "| a | |",
        "|---|---|",
        "| 1 | 2 |",
        "| 3 |  |",
    ]
