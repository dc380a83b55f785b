"""Results as pictures in the Dagster UI, each with the words that say what to see.

They are the drawings of the release page, as SVG in an image of Markdown.
"""

import base64
import json
from pathlib import Path
from typing import TYPE_CHECKING

import dagster as dg

from plumbline.reports.plots import Mark, Plot, picture, rate_rows, sparkline
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.kinds import HISTORY_FILE

if TYPE_CHECKING:
    from plumbline.evaluation.failure_modes.over_optimization import OverOptimization
    from plumbline.evaluation.frontier import Frontier
    from plumbline.evaluation.reward_models.calibration import Calibration

RATES = ("harmful_compliance", "over_refusal", "correctness")


def over_optimization_plot(curve: "OverOptimization | None") -> dg.MarkdownMetadataValue:
    """Reward and judged quality of the best of n, over the divergence that it costs."""
    from plumbline.reports.release.measures import curve_figure

    if curve is None:
        return dg.MarkdownMetadataValue("no best-of-n draws were judged")
    sentence = (
        f"best of {curve.draws} on {curve.prompts} prompts: reward {_signed(curve.proxy_gain)},"
        f" {curve.gold_metric} {_signed(curve.gold_gain)}"
    )
    return _below(sentence, curve_figure(curve).drawings)


def calibration_plot(calibration: "Calibration | None") -> dg.MarkdownMetadataValue:
    """Confidence of the reward model against the share of the pairs in which people agreed with
    it."""
    from plumbline.reports.release.measures import calibration_figure

    if calibration is None:
        return dg.MarkdownMetadataValue("too few validation pairs")
    verdict = (
        f"more than {calibration.noise:.3f}, which noise explains"
        if calibration.miscalibrated
        else f"noise explains up to {calibration.noise:.3f}"
    )
    sentence = (
        f"{calibration.pairs} validation pairs: ECE {calibration.ece.value:.3f} ({verdict}), Brier"
        f" {calibration.brier.value:.3f}"
    )
    return _below(sentence, calibration_figure(calibration, None).drawings)


def frontier_plot(frontier: "Frontier") -> dg.MarkdownMetadataValue:
    """What each comparable recipe gained in reward for its divergence."""
    from plumbline.reports.release.measures import frontier_figure

    if not frontier.points:
        return dg.MarkdownMetadataValue("no recipe has both a divergence and a reward")
    sentence = ", ".join(
        f"{point.recipe}: {point.kl.value:.2f} nats, reward {point.reward.value:+.2f}"
        for point in frontier.points[:8]
    )
    return _below(sentence, frontier_figure(frontier, policy="").drawings)


def comparison_plot(report: EvalReport) -> dg.MarkdownMetadataValue:
    """Reference and aligned rates with their intervals, one panel for each metric that is a
    rate."""
    plots = [
        rate_rows(rows, metric.replace("_", " "))
        for metric in RATES
        if (rows := _marks(report, metric))
    ]
    if not plots:
        return dg.MarkdownMetadataValue("no rate to plot")
    return dg.MarkdownMetadataValue(
        _image("reference and aligned", picture(plots, kinds=("reference", "aligned")))
    )


def loss_plot(folder: Path) -> dg.MarkdownMetadataValue:
    """The training loss as an inline sparkline with its first and last value."""
    history = [json.loads(line) for line in (folder / HISTORY_FILE).read_text().splitlines()]
    losses = [float(row["metrics"]["loss"]) for row in history if "loss" in row["metrics"]]
    if len(losses) < 2:
        return dg.MarkdownMetadataValue(f"{len(losses)} loss values logged")
    image = _image("loss", sparkline(losses[:: max(1, len(losses) // 24)]))
    return dg.MarkdownMetadataValue(f"{losses[0]:.3f} {image} {losses[-1]:.3f}")


def _marks(report: EvalReport, metric: str) -> dict[str, list[Mark]]:
    """Both sides of a metric by slice, without variants of slices that stand there themselves."""
    return {
        name: [
            Mark(side, estimate)
            for side in ("reference", "aligned")
            if (estimate := getattr(metrics[metric], side)) is not None
        ]
        for name, metrics in report.slices.items()
        if metric in metrics and name.rpartition(".")[0] not in report.slices
    }


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]"


def _below(sentence: str, plots: tuple[Plot, ...]) -> dg.MarkdownMetadataValue:
    return dg.MarkdownMetadataValue(f"{sentence}\n\n{_image(sentence, picture(plots))}")


def _image(words: str, svg: str) -> str:
    return f"![{words}](data:image/svg+xml;base64,{base64.b64encode(svg.encode()).decode()})"
