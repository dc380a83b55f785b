"""Where marks stand in the drawings; every place is worked out by hand."""

import re
from xml.etree import ElementTree

import pytest

from plumbline.reports.plots import (
    Axis,
    Mark,
    Point,
    axis_over,
    interval_bar,
    picture,
    plot,
    rate_rows,
    sparkline,
)
from plumbline.schema.estimates import Estimate


def estimate(low, value, high, n=100, method="wilson"):
    return Estimate(value=value, low=low, high=high, level=0.95, n=n, unscored=0, method=method)


def test_a_mark_stands_where_its_number_is():
    """On an axis from 0 to 0.5 the interval [0.1, 0.2] with value 0.15 goes from 20 % to 40 % of
    the width, its dot at 30 %."""
    bar = interval_bar([Mark("aligned", estimate(0.1, 0.15, 0.2))], Axis(0.0, 0.5), "label")
    assert re.search(r'class="aligned"><line x1="20\.00%" x2="40\.00%"', bar)
    assert 'cx="30.00%"' in bar


def test_what_lies_beyond_the_axis_is_drawn_at_its_end():
    assert Axis(0.0, 1.0).percent(-3) == "0.00%"
    assert Axis(0.0, 1.0).percent(3) == "100.00%"


@pytest.mark.parametrize(
    "values", [[0.0, 0.004], [-54.2, 11.0], [0.31, 0.32], [7.0], [0.0], [-1e-9, 1e-9], [1e6, 3e6]]
)
def test_an_axis_holds_its_values_and_has_round_ticks(values):
    axis = axis_over(values)
    assert all(axis.low < value < axis.high for value in values)
    assert 2 <= len(axis.ticks()) <= 5
    assert all(axis.low - 1e-12 <= tick <= axis.high + 1e-12 for tick in axis.ticks())
    assert len({f"{tick:.4g}" for tick in axis.ticks()}) == len(axis.ticks())


def test_an_axis_of_shares_stays_between_0_and_1():
    assert axis_over([0.0, 0.99], floor=0.0, ceiling=1.0) == (0.0, 1.0)


def test_the_shaded_side_is_the_one_on_which_a_gate_passes():
    """The threshold of 0.05 on an axis from 0 to 0.1 stands in the middle."""
    mark = [Mark("pass", estimate(0.0, 0.01, 0.02))]
    for side, start in (("below", "0.00"), ("above", "50.00")):
        assert f'<rect class="allowed" x="{start}%" width="50.00%"' in interval_bar(
            mark, Axis(0.0, 0.1), "", threshold=0.05, good_side=side
        )


def test_text_in_a_drawing_is_escaped():
    point = Point(1.0, 1.0, 1.0, estimate(0.0, 0.5, 1.0), "<b>&\u202e", "aligned")
    drawn = plot(
        [point], Axis(0, 2), Axis(0, 1), x_title="<x>", y_title="<y>", label='">', named=True
    ).html()
    assert drawn.count("&lt;b&gt;&amp;⟨U+202E⟩") == 2
    assert "<x>" not in drawn
    assert "<y>" not in drawn
    assert 'aria-label="&#34;&gt;"' in drawn


def test_a_picture_is_a_file_of_its_own_that_names_its_marks():
    """Two rows of two marks take 27 pixels each; the title stands above, the legend below."""
    marks = [
        Mark("reference", estimate(0.1, 0.15, 0.2)),
        Mark("aligned", estimate(0.0, 0.05, 0.1)),
    ]
    rows = rate_rows({"<a>": marks, "b": marks[:1]}, "over & under")
    assert rows.label == "<a>: reference 15.0%, aligned 5.0%; b: reference 15.0%"
    root = ElementTree.fromstring(picture([rows, rows], kinds=("reference", "aligned")))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    texts = [element.text for element in root.iter("{http://www.w3.org/2000/svg}text")]
    assert texts.count("over & under") == 2
    assert texts.count("<a>") == 2
    assert texts[-2:] == ["reference", "aligned"]


def test_a_sparkline_goes_from_left_to_right_and_high_values_stand_high():
    assert "points='0,2 100,38 200,20'" in sparkline([3.0, 1.0, 2.0])
