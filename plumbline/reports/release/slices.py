"""The slices of a report as rows with interval bars, one table for each metric."""

from typing import NamedTuple

from markupsafe import Markup

from plumbline.release.gates import GateVerdict
from plumbline.reports.plots import Axis, Mark, axis_over, interval_bar, scale
from plumbline.reports.release.sentences import (
    Direction,
    condition,
    difference_text,
    direction_of,
    metric_name,
)
from plumbline.reports.tables import MetricRow, format_estimate, metric_rows
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EVERYTHING, EvalReport
from plumbline.schema.metrics import METRICS


class SliceRow(NamedTuple):
    """One slice of a metric."""

    name: str
    kind: str
    """`pooled`, `slice` or `variant`."""
    bar: Markup
    difference_bar: Markup | str
    reference: str
    aligned: str
    champion: str
    difference: str
    direction: Direction
    against_champion: str
    p_adjusted: str
    n: int
    unscored: int


class Table(NamedTuple):
    """A metric on every slice."""

    metric: str
    title: str
    meaning: str
    rows: tuple[SliceRow, ...]
    scale: Markup
    difference_scale: Markup | str
    has_champion: bool


def metric_table(report: EvalReport, metric: str) -> Table:
    """The table of one metric: everything together, then pooled slices, then single ones, then
    reworded ones."""
    shown = sorted(
        (row for row in metric_rows(report) if row.metric == metric),
        key=lambda row: (row.variant, row.slice != EVERYTHING, not row.pooled, row.slice),
    )
    comparisons = [row.comparison for row in shown]
    estimates = [
        estimate
        for comparison in comparisons
        for estimate in (comparison.reference, comparison.aligned, comparison.champion)
        if estimate is not None
    ]
    differences = [
        comparison.difference for comparison in comparisons if comparison.difference is not None
    ]
    proportion = METRICS[metric].kind == "proportion"
    ends = [end for estimate in estimates for end in (estimate.low, estimate.high)]
    axis = axis_over(
        ends,
        floor=0.0 if proportion else None,
        ceiling=1.0 if proportion else None,
        zero=proportion,
    )
    change = None
    if differences:
        change = axis_over(
            [end for estimate in differences for end in (estimate.low, estimate.high)], zero=True
        )
        change = Axis(max(change.low, -1.0), min(change.high, 1.0)) if proportion else change
    better = METRICS[metric].better
    return Table(
        metric=metric,
        title=metric_name(metric),
        meaning=METRICS[metric].meaning + ("" if better == "neither" else f"; {better} is better"),
        rows=tuple(_row(row, axis, change) for row in shown),
        scale=scale(axis, [(tick, _tick(tick, metric)) for tick in axis.ticks()]),
        difference_scale=(
            scale(change, [(tick, _tick(tick, metric, signed=True)) for tick in change.ticks(3)])
            if change
            else ""
        ),
        has_champion=any(comparison.champion is not None for comparison in comparisons),
    )


def gate_bar(verdict: GateVerdict) -> Markup | str:
    """A gate's interval against its threshold, the side on which it passes shaded; empty without an
    estimate."""
    gate, estimate = verdict.gate, verdict.estimate
    if estimate is None:
        return ""
    bounded = METRICS[gate.metric].kind == "proportion"
    least = 0.0 if gate.compare == "aligned" else -1.0
    threshold = gate.bound
    reach = max(
        abs(estimate.low - threshold), abs(estimate.high - threshold), 0.01 if bounded else 0.1
    )
    axis = axis_over(
        [estimate.low, estimate.high, threshold, threshold - reach / 3, threshold + reach / 3],
        floor=least if bounded else None,
        ceiling=1.0 if bounded else None,
    )
    text = format_estimate(estimate, gate.metric, signed=gate.compare != "aligned")
    return interval_bar(
        [Mark(verdict.verdict, estimate)],
        axis,
        f"{text}; the gate wants {condition(verdict)}",
        threshold=threshold,
        good_side="below" if gate.direction == "at_most" else "above",
    )


def _row(row: MetricRow, axis: Axis, change: Axis | None) -> SliceRow:
    name, metric, comparison = row.slice, row.metric, row.comparison
    sides = {
        "reference": comparison.reference,
        "aligned": comparison.aligned,
        "champion": comparison.champion,
    }
    marks = [Mark(kind, estimate) for kind, estimate in sides.items() if estimate is not None]
    label = ", ".join(
        f"{kind} {format_estimate(estimate, metric)}"
        for kind, estimate in sides.items()
        if estimate is not None
    )
    direction = direction_of(metric, comparison.difference)
    bar: Markup | str = ""
    if comparison.difference is not None and change is not None:
        bar = interval_bar(
            [Mark(direction, comparison.difference)],
            change,
            f"difference {format_estimate(comparison.difference, metric, signed=True)}",
        )
    return SliceRow(
        name="everything" if name == EVERYTHING and row.pooled else name,
        kind="variant" if row.variant else "pooled" if row.pooled else "slice",
        bar=interval_bar(marks, axis, f"{name}: {label}"),
        difference_bar=bar,
        reference=_text(comparison.reference, metric),
        aligned=_text(comparison.aligned, metric),
        champion=_text(comparison.champion, metric),
        difference=""
        if comparison.difference is None
        else difference_text(comparison.difference, metric),
        direction=direction,
        against_champion=(
            ""
            if comparison.against_champion is None
            else difference_text(comparison.against_champion, metric)
        ),
        p_adjusted=p_text(comparison.p_adjusted),
        n=comparison.aligned.n,
        unscored=comparison.aligned.unscored,
    )


def p_text(p: float | None) -> str:
    """A p-value with as many digits as it can carry."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _text(estimate: Estimate | None, metric: str) -> str:
    return "" if estimate is None else format_estimate(estimate, metric)


def _tick(value: float, metric: str, *, signed: bool = False) -> str:
    proportion = METRICS[metric].kind == "proportion"
    number = f"{value * 100:g}{'' if signed else ' %'}" if proportion else f"{value:g}"
    return f"{'+' if signed and value > 0 else ''}{number}".replace("-", "\N{MINUS SIGN}")
