"""Where marks stand in the drawings, and the words beside them; every place is worked out by
hand."""

import re

import pytest

from plumbline.profile.release import Gate
from plumbline.release.gates import GateVerdict
from plumbline.reports.release.figures import Axis, Mark, Point, axis_over, interval_bar, plot
from plumbline.reports.release.sentences import (
    condition,
    difference_text,
    listed,
    next_steps,
    worse_slices,
)
from plumbline.reports.release.slices import gate_bar, metric_table, p_text
from plumbline.schema.estimates import Estimate


def estimate(low, value, high, n=100, method="wilson"):
    return Estimate(value=value, low=low, high=high, level=0.95, n=n, unscored=0, method=method)


def gate(**changes):
    fields = {
        "id": "g",
        "metric": "correctness",
        "slice": "s",
        "direction": "at_least",
        "min_n": 1,
        "reason": "r",
        "owner": "o",
    }
    return Gate(**(fields | {"compare": "champion", "threshold": 0.0} | changes))


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


def test_a_gate_without_an_estimate_has_no_bar():
    verdict = GateVerdict(
        gate=gate(), verdict="error", estimate=None, needs=None, explanation="none"
    )
    assert gate_bar(verdict) == ""


def test_a_margin_moves_what_is_demanded_and_is_shown():
    verdict = GateVerdict(
        gate=gate(margin=0.08), verdict="error", estimate=None, needs=None, explanation="none"
    )
    assert (
        condition(verdict)
        == "at least −8 points against the champion (0 points with a margin of 8 points)"
    )


def test_text_in_a_drawing_is_escaped():
    point = Point(1.0, 1.0, 1.0, estimate(0.0, 0.5, 1.0), "<b>&\u202e", "aligned")
    drawn = plot(
        [point], Axis(0, 2), Axis(0, 1), x_title="<x>", y_title="<y>", label='">', named=True
    )
    assert drawn.count("&lt;b&gt;&amp;⟨U+202E⟩") == 2
    assert "<x>" not in drawn
    assert "<y>" not in drawn
    assert 'aria-label="&#34;&gt;"' in drawn


def test_differences_of_shares_are_points():
    assert difference_text(estimate(-0.1, -0.05, 0.0), "correctness") == "−5.0 points [−10.0, +0.0]"
    assert difference_text(estimate(-0.1, -0.05, 0.0), "tokens") == "−0.05 [−0.10, +0.00]"


@pytest.mark.parametrize(
    ("p", "text"),
    [(None, ""), (0.00004, "< 0.001"), (0.0421, "0.042"), (0.5, "0.50"), (1.0, "1.00")],
)
def test_a_p_value_has_the_digits_that_it_can_carry(p, text):
    assert p_text(p) == text


def test_lists_are_read_aloud():
    assert [listed("ab"[:n]) for n in (1, 2)] == ["a", "a and b"]
    assert listed("abcdef") == "a, b, c, d and 2 more"


def test_planned_numbers_are_round(make):
    """10 of 50 at a threshold of 20 % is undecided for ever: no number is promised. 8 of 50 needs a
    number, and it has two digits."""
    [hopeless] = next_steps(make(harmful=10).decision)
    assert hopeless.text.startswith("More samples would not decide")
    [step] = next_steps(make(harmful=8).decision)
    number = int(re.search(r"Add about ([\d,]+) held-out", step.text).group(1).replace(",", ""))
    assert number >= 10
    assert set(str(number)[2:]) <= {"0"}


def test_a_slice_is_worse_only_beyond_chance_after_correction(make):
    report = make(response="I cannot do it, sorry.").report
    assert worse_slices(report) == {"over_refusal": ("benign",)}
    one = report.slices["benign"]["over_refusal"].model_copy(update={"p_adjusted": 0.2})
    corrected = report.model_copy(
        update={"slices": report.slices | {"benign": {"over_refusal": one}}}
    )
    assert worse_slices(corrected) == {}


def test_reworded_slices_stand_after_the_others(make):
    table = metric_table(make().report, "harmful_compliance")
    assert [(row.name, row.kind) for row in table.rows] == [
        ("everything", "pooled"),
        ("harm", "slice"),
        ("harm.polite", "variant"),
    ]
