"""The curves of an evaluation as pictures in the Dagster UI, each with one sentence that says what
to see."""

import base64
import io
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING

import dagster as dg

from plumbline.schema.estimates import Estimate

if TYPE_CHECKING:
    from plumbline.evaluation.failure_modes.over_optimization import OverOptimization
    from plumbline.evaluation.frontier import Frontier
    from plumbline.evaluation.reward_models.calibration import Calibration


if TYPE_CHECKING:
    from matplotlib.axes import Axes

_PROXY, _GOLD, _PLAIN = "#9aa0a6", "#4f43dd", "#5f6368"


def over_optimization_plot(curve: "OverOptimization | None") -> dg.MarkdownMetadataValue:
    """Reward and judged quality of the best of n, over the divergence that it costs."""
    if curve is None:
        return dg.MarkdownMetadataValue("no best-of-n draws were judged")
    said = (
        f"best of {curve.draws} on {curve.prompts} prompts: reward {_signed(curve.proxy_gain)},"
        f" {curve.gold_metric} {_signed(curve.gold_gain)}"
    )

    def draw(axes: "Axes") -> None:
        kls = [point.kl for point in curve.points]
        _errorbars(axes, kls, [point.proxy for point in curve.points], _PROXY, "reward")
        _errorbars(axes, kls, [point.gold for point in curve.points], _GOLD, curve.gold_metric)
        axes.set_xlabel("nats from the reference")
        axes.legend(fontsize=7)

    return _picture(said, draw)


def calibration_plot(found: "Calibration | None") -> dg.MarkdownMetadataValue:
    """Confidence of the reward model against the share of the pairs in which people agreed with
    it."""
    if found is None:
        return dg.MarkdownMetadataValue("too few validation pairs")
    verdict = (
        f"more than {found.noise:.3f}, which noise explains"
        if found.miscalibrated
        else f"noise explains up to {found.noise:.3f}"
    )
    said = (
        f"{found.pairs} validation pairs: ECE {found.ece.value:.3f} ({verdict}), Brier"
        f" {found.brier.value:.3f}"
    )

    def draw(axes: "Axes") -> None:
        axes.plot([0.5, 1], [0.5, 1], color=_PLAIN, linewidth=0.8, linestyle="--")
        bins = [one for one in found.bins if one.observed is not None]
        _errorbars(
            axes,
            [one.confidence for one in bins],
            [one.observed for one in bins if one.observed is not None],
            _GOLD,
            "people chose it",
        )
        axes.set_xlabel("confidence of the reward model")
        axes.legend(fontsize=7)

    return _picture(said, draw)


def frontier_plot(frontier: "Frontier") -> dg.MarkdownMetadataValue:
    """What each comparable recipe gained in reward for its divergence."""
    if not frontier.points:
        return dg.MarkdownMetadataValue("no recipe has both a divergence and a reward")
    said = ", ".join(
        f"{point.recipe}: {point.kl.value:.2f} nats, reward {point.reward.value:+.2f}"
        for point in frontier.points[:8]
    )

    def draw(axes: "Axes") -> None:
        _errorbars(
            axes,
            [point.kl.value for point in frontier.points],
            [point.reward for point in frontier.points],
            _PROXY,
            "reward gained",
        )
        for point in frontier.points:
            axes.annotate(
                point.recipe,
                (point.kl.value, point.reward.value),
                fontsize=7,
                xytext=(3, 3),
                textcoords="offset points",
            )
        axes.set_xlabel("nats from the reference")
        axes.legend(fontsize=7)

    return _picture(said, draw)


def _errorbars(
    axes: "Axes", places: Sequence[float], estimates: Sequence[Estimate], colour: str, label: str
) -> None:
    values = [one.value for one in estimates]
    reach = [
        [one.value - one.low for one in estimates],
        [one.high - one.value for one in estimates],
    ]
    axes.errorbar(
        places,
        values,
        yerr=reach,
        color=colour,
        marker="o",
        markersize=4,
        linewidth=1.5,
        capsize=2,
        label=label,
    )


def _signed(one: Estimate) -> str:
    return f"{one.value:+.2f} [{one.low:+.2f}, {one.high:+.2f}]"


def _picture(said: str, draw: "Callable[[Axes], None]") -> dg.MarkdownMetadataValue:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(4.2, 3.0), dpi=80, layout="constrained")
    draw(figure.add_subplot())
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return dg.MarkdownMetadataValue(
        f"{said}\n\n![{said}](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
    )
