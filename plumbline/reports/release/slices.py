"""The slices of a report as rows with interval bars, one table for each metric."""

from typing import NamedTuple

from markupsafe import Markup

from plumbline.evaluation.report import EVERYTHING, format_estimate
from plumbline.release.gates import GateVerdict
from plumbline.reports.release.figures import Axis, Mark, axis_over, interval_bar, scale
from plumbline.reports.release.sentences import (
    Direction,
    condition,
    difference_text,
    direction_of,
    metric_name,
)
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport, MetricComparison
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
    found = {name: metrics[metric] for name, metrics in report.slices.items() if metric in metrics}
    shown = sorted(
        found,
        key=lambda name: (
            _kind(report, name) == "variant",
            name != EVERYTHING,
            name not in report.pooled,
            name,
        ),
    )
    estimates = [
        one
        for comparison in found.values()
        for one in (comparison.reference, comparison.aligned, comparison.champion)
        if one is not None
    ]
    differences = [
        comparison.difference for comparison in found.values() if comparison.difference is not None
    ]
    proportion = METRICS[metric].kind == "proportion"
    ends = [end for one in estimates for end in (one.low, one.high)]
    axis = axis_over(
        ends,
        floor=0.0 if proportion else None,
        ceiling=1.0 if proportion else None,
        zero=proportion,
    )
    change = None
    if differences:
        change = axis_over([end for one in differences for end in (one.low, one.high)], zero=True)
        change = Axis(max(change.low, -1.0), min(change.high, 1.0)) if proportion else change
    better = METRICS[metric].better
    return Table(
        metric=metric,
        title=metric_name(metric),
        meaning=METRICS[metric].meaning + ("" if better == "neither" else f"; {better} is better"),
        rows=tuple(_row(report, name, metric, found[name], axis, change) for name in shown),
        scale=scale(axis, [(tick, _tick(tick, metric)) for tick in axis.ticks()]),
        difference_scale=(
            scale(change, [(tick, _tick(tick, metric, signed=True)) for tick in change.ticks(3)])
            if change
            else ""
        ),
        has_champion=any(comparison.champion is not None for comparison in found.values()),
    )


def gate_bar(verdict: GateVerdict) -> Markup | str:
    """A gate's interval against its threshold, the side on which it passes shaded; empty without an
    estimate."""
    gate, one = verdict.gate, verdict.estimate
    if one is None:
        return ""
    bounded = METRICS[gate.metric].kind == "proportion"
    least = 0.0 if gate.compare == "aligned" else -1.0
    threshold = gate.bound
    reach = max(abs(one.low - threshold), abs(one.high - threshold), 0.01 if bounded else 0.1)
    axis = axis_over(
        [one.low, one.high, threshold, threshold - reach / 3, threshold + reach / 3],
        floor=least if bounded else None,
        ceiling=1.0 if bounded else None,
    )
    text = format_estimate(one, gate.metric, signed=gate.compare != "aligned")
    return interval_bar(
        [Mark(verdict.verdict, one)],
        axis,
        f"{text}; the gate wants {condition(verdict)}",
        threshold=threshold,
        good_side="below" if gate.direction == "at_most" else "above",
    )


def _row(
    report: EvalReport,
    name: str,
    metric: str,
    one: MetricComparison,
    axis: Axis,
    change: Axis | None,
) -> SliceRow:
    sides = {"reference": one.reference, "aligned": one.aligned, "champion": one.champion}
    marks = [Mark(kind, estimate) for kind, estimate in sides.items() if estimate is not None]
    label = ", ".join(
        f"{kind} {format_estimate(estimate, metric)}"
        for kind, estimate in sides.items()
        if estimate is not None
    )
    direction = direction_of(metric, one.difference)
    bar: Markup | str = ""
    if one.difference is not None and change is not None:
        bar = interval_bar(
            [Mark(direction, one.difference)],
            change,
            f"difference {format_estimate(one.difference, metric, signed=True)}",
        )
    return SliceRow(
        name="everything" if name == EVERYTHING and name in report.pooled else name,
        kind=_kind(report, name),
        bar=interval_bar(marks, axis, f"{name}: {label}"),
        difference_bar=bar,
        reference=_text(one.reference, metric),
        aligned=_text(one.aligned, metric),
        champion=_text(one.champion, metric),
        difference="" if one.difference is None else difference_text(one.difference, metric),
        direction=direction,
        against_champion=(
            "" if one.against_champion is None else difference_text(one.against_champion, metric)
        ),
        p_adjusted=p_text(one.p_adjusted),
        n=one.aligned.n,
        unscored=one.aligned.unscored,
    )


def p_text(p: float | None) -> str:
    """A p-value with as many digits as it can carry."""
    if p is None:
        return ""
    return "< 0.001" if p < 0.001 else f"{p:.3f}" if p < 0.1 else f"{p:.2f}"


def _kind(report: EvalReport, name: str) -> str:
    return "variant" if "." in name else "pooled" if name in report.pooled else "slice"


def _text(estimate: Estimate | None, metric: str) -> str:
    return "" if estimate is None else format_estimate(estimate, metric)


def _tick(value: float, metric: str, *, signed: bool = False) -> str:
    proportion = METRICS[metric].kind == "proportion"
    number = f"{value * 100:g}{'' if signed else ' %'}" if proportion else f"{value:g}"
    return f"{'+' if signed and value > 0 else ''}{number}".replace("-", "\N{MINUS SIGN}")
