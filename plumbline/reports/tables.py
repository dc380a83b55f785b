"""The tables of a release as rows, for every place that draws them: the release page, the Dagster
UI, the terminal and Markdown."""

from collections.abc import Iterable, Iterator, Sequence
from typing import NamedTuple

from plumbline.release.gates import GateVerdict
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EVERYTHING, EvalReport, MetricComparison
from plumbline.schema.metrics import METRICS


class MetricRow(NamedTuple):
    """One metric on one slice."""

    slice: str
    pooled: bool
    variant: bool
    """Prompts of other slices in other words, pooled or not."""
    metric: str
    comparison: MetricComparison


class GateRow(NamedTuple):
    """One gate of a decision; the fields are the columns."""

    gate: str
    verdict: str
    explanation: str
    reason: str
    owner: str


class CheckRow(NamedTuple):
    """One named check of a decision; the fields are the columns."""

    check: str
    verdict: str
    explanation: str
    what_to_do: str


def metric_rows(report: EvalReport) -> Iterator[MetricRow]:
    """Every slice and metric, in the order of the report."""
    for name, metrics in report.slices.items():
        for metric, comparison in metrics.items():
            yield MetricRow(name, name in report.pooled, "." in name, metric, comparison)


def gate_rows(gates: Iterable[GateVerdict]) -> list[GateRow]:
    """Every gate with its verdict and the reason in words."""
    return [
        GateRow(
            verdict.gate.id,
            verdict.verdict,
            verdict.explanation,
            verdict.gate.reason,
            verdict.gate.owner,
        )
        for verdict in gates
    ]


def check_rows(checks: Iterable[CheckVerdict]) -> list[CheckRow]:
    """Every named check with its verdict, the reason in words and what to do."""
    return [
        CheckRow(check.name, check.verdict, check.explanation, check.remedy) for check in checks
    ]


def metrics_in(report: EvalReport, metrics: Iterable[str] = tuple(METRICS)) -> list[str]:
    """Those of the metrics that some slice of the report has."""
    present = {row.metric for row in metric_rows(report)}
    return [metric for metric in metrics if metric in present]


def format_estimate(estimate: Estimate, metric: str, *, signed: bool = False) -> str:
    """`4.7% [2.8, 7.7]` for proportions, `1.02 [0.98, 1.06]` for means; differences of proportions
    are percentage points."""
    factor, unit = (100, "%") if METRICS[metric].kind == "proportion" else (1, "")
    digits = 1 if factor == 100 or abs(estimate.value) >= 10 else 2
    numbers = (
        round(number * factor, digits) + 0.0
        for number in (estimate.value, estimate.low, estimate.high)
    )  # + 0.0: no "-0.0"
    value, low, high = (f"{number:{'+' if signed else ''}.{digits}f}" for number in numbers)
    return f"{value}{unit} [{low}, {high}]"


def cut(text: str, width: int = 160) -> str:
    """A text as one line of a table, at most this many characters."""
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "\N{HORIZONTAL ELLIPSIS}"


def markdown_table(columns: Sequence[str], rows: Iterable[Sequence[str]]) -> list[str]:
    """The lines of a table in Markdown."""
    # an empty name of a last column leaves no second space
    lines = [f"| {' | '.join(columns).rstrip()} |", "|---" * len(columns) + "|"]
    return lines + [f"| {' | '.join(row)} |" for row in rows]


def brief_markdown(report: EvalReport, limit: int) -> str:
    """All prompts together and the worst slice of each metric, in at most this many characters."""
    # where a slice of its own is called `all`, it is that slice that is shown
    overall = report.slices[EVERYTHING]
    shown = [metric for metric in METRICS if metric in overall]
    head, rule, *lines = markdown_table(
        ("metric", "reference", "aligned", "worst slice"),
        [
            (
                metric,
                "–"
                if (reference := overall[metric].reference) is None
                else format_estimate(reference, metric),
                format_estimate(overall[metric].aligned, metric),
                _worst(report, metric),
            )
            for metric in shown
        ],
    )
    text = f"{head}\n{rule}"
    for position, line in enumerate(lines):
        left_out = f"\n\n{len(shown) - position} more metrics are in the full table."
        if len(text) + 1 + len(line) + len(left_out) > limit:
            return text + left_out
        text += f"\n{line}"
    return text


def _worst(report: EvalReport, metric: str) -> str:
    better = METRICS[metric].better
    own = {
        row.slice: row.comparison.aligned.value
        for row in metric_rows(report)
        if row.metric == metric and not row.pooled
    }
    if better == "neither" or len(set(own.values())) < 2:
        return "–"
    name = (max if better == "lower" else min)(own, key=own.__getitem__)
    return (
        f"{name} {own[name]:.1%}"
        if METRICS[metric].kind == "proportion"
        else f"{name} {own[name]:.2f}"
    )
