"""Figures about the optimization itself: frontier, over-optimization curve, calibration, length,
guardrail and red team."""

from collections.abc import Sequence
from typing import NamedTuple

from markupsafe import Markup

from plumbline.evaluation.failure_modes.length_bias import LengthDrift
from plumbline.evaluation.failure_modes.over_optimization import OverOptimization
from plumbline.evaluation.frontier import Frontier, FrontierPoint
from plumbline.evaluation.red_team.attempts import CampaignReport
from plumbline.evaluation.reward_models.accuracy import RewardAccuracy
from plumbline.evaluation.reward_models.calibration import Calibration
from plumbline.guardrail.measurement import Measurement
from plumbline.reports.plots import Axis, Mark, Plot, Point, axis_over, interval_bar, plot
from plumbline.reports.release.evidence import ReleaseEvidence
from plumbline.reports.release.sentences import lowered, metric_name
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EVERYTHING, EvalReport
from plumbline.schema.kinds import ALIGNED_POLICY


class Figure(NamedTuple):
    """A drawing with what it says in words."""

    title: str
    says: str
    drawings: tuple[Plot, ...]


class BarRow(NamedTuple):
    """One line of a table with bars."""

    name: str
    bars: tuple[Markup | str, ...]
    texts: tuple[str, ...]
    n: tuple[int, ...]


def figures_of(evidence: ReleaseEvidence) -> list[Figure]:
    """The plots that there is evidence for."""
    figures = []
    if evidence.frontier is not None and evidence.frontier.points:
        figures.append(
            frontier_figure(evidence.frontier, evidence.decision.inputs.get(ALIGNED_POLICY, ""))
        )
    if evidence.calibration is not None:
        figures.append(calibration_figure(evidence.calibration, evidence.accuracy))
    if evidence.curve is not None:
        figures.append(curve_figure(evidence.curve))
    return figures


def frontier_figure(frontier: Frontier, policy: str) -> Figure:
    """Reward that each recipe gained against how far it moved; the candidate is drawn in the colour
    of the aligned policy."""
    x = axis_over(
        [end for point in frontier.points for end in (point.kl.low, point.kl.high)],
        floor=0.0,
        zero=True,
    )
    y = axis_over(
        [end for point in frontier.points for end in (point.reward.low, point.reward.high)],
        zero=True,
    )
    points = [
        Point(
            point.kl.value,
            point.kl.low,
            point.kl.high,
            point.reward,
            _named(point),
            "aligned" if point.policy == policy else "reference",
        )
        for point in frontier.points
    ]
    own = next((point for point in frontier.points if point.policy == policy), None)
    label = "; ".join(
        f"{_named(point)}: {point.kl.value:.2f} nats, reward {point.reward.value:+.2f}"
        for point in frontier.points
    )
    return Figure(
        title="Reward for distance",
        says=_frontier_says(own, len(frontier.points)),
        drawings=(
            plot(
                points,
                x,
                y,
                x_title="KL from the reference, nats",
                y_title="Reward gained",
                label=label,
                named=True,
            ),
        ),
    )


def curve_figure(curve: OverOptimization) -> Figure:
    """What taking the best of n by reward does to the reward and to the judged quality."""
    x = Axis(0.0, axis_over([point.kl for point in curve.points], zero=True).high)
    drawings = []
    for side, title, kind in (
        ("proxy", "Reward (what is optimized)", "reference"),
        ("gold", f"{metric_name(curve.gold_metric)} (what is wanted)", "aligned"),
    ):
        estimates: list[Estimate] = [getattr(point, side) for point in curve.points]
        y = axis_over([end for one in estimates for end in (one.low, one.high)])
        points = [
            Point(one.kl, one.kl, one.kl, estimate, f"best of {one.n}", kind)
            for one, estimate in zip(curve.points, estimates, strict=True)
        ]
        label = ", ".join(
            f"best of {one.n}: {estimate.value:.2f}"
            for one, estimate in zip(curve.points, estimates, strict=True)
        )
        drawings.append(
            plot(
                points,
                x,
                y,
                x_title="KL of best of n, nats",
                y_title=title,
                label=label,
                joined=True,
            )
        )
    gain = curve.gold_gain
    trend = (
        "rises with it"
        if gain.low > 0
        else (
            "falls while it rises: this reward is over-optimized"
            if gain.high < 0
            else "does not clearly follow it"
        )
    )
    says = (
        f"Choosing the best of {curve.draws} answers by reward, the reward rises by"
        f" {curve.proxy_gain.value:.2f}; the judged quality {trend} ({_signed(gain)},"
        f" {curve.prompts} prompts)."
    )
    return Figure("Over-optimization", says, tuple(drawings))


def calibration_figure(calibration: Calibration, accuracy: RewardAccuracy | None) -> Figure:
    """The confidence of the reward model against how often people agreed with it."""
    x, y = (
        Axis(0.5, 1.0),
        Axis(
            (
                0.0
                if any(
                    one.observed is not None and one.observed.low < 0.4 for one in calibration.bins
                )
                else 0.4
            ),
            1.0,
        ),
    )
    points = [
        Point(one.confidence, one.low, one.high, one.observed, f"{one.pairs} pairs", "aligned")
        for one in calibration.bins
        if one.observed is not None
    ]
    label = ", ".join(f"says {point.x:.0%}, people agree {point.y.value:.0%}" for point in points)
    ece = calibration.ece
    claims = (
        f"it claims {'more' if calibration.overconfident else 'less'} than it keeps"
        if calibration.miscalibrated
        else "it keeps what it claims, within noise"
    )
    says = (
        f"Expected calibration error {ece.value:.3f} [{ece.low:.3f}, {ece.high:.3f}] on"
        f" {calibration.pairs} validation pairs, of which noise alone explains up to"
        f" {calibration.noise:.3f}: {claims}."
    )
    if accuracy is not None:
        says = f"{accuracy.sentence()} {says}"
    return Figure(
        "Can the reward model be believed?",
        says,
        (
            plot(
                points,
                x,
                y,
                x_title="confidence of the reward model",
                y_title="Share of pairs in which people agree",
                label=label,
                diagonal=True,
            ),
        ),
    )


def length_rows(lengths: LengthDrift, base: Sequence[str]) -> list[BarRow]:
    """Tokens by which answers grew or shrank, for these slices."""
    tokens = {
        "everything" if name == EVERYTHING else name: lengths.tokens[name]
        for name in base
        if name in lengths.tokens
    }
    if not tokens:
        return []
    axis = axis_over(
        [end for interval in tokens.values() for end in (interval.low, interval.high)], zero=True
    )
    return [
        BarRow(
            name,
            (
                interval_bar(
                    [Mark("aligned", interval)], axis, f"{name}: {_signed(interval)} tokens"
                ),
            ),
            (_signed(interval),),
            (interval.n,),
        )
        for name, interval in tokens.items()
    ]


def length_says(lengths: LengthDrift) -> str:
    """Whether the reward model pays for length, in words."""
    interval = lengths.paid.get("aligned")
    if interval is None:
        return ""
    pays = (
        "pays for length"
        if interval.low > 0
        else "pays for brevity"
        if interval.high < 0
        else "does not clearly pay for length"
    )
    return (
        f"Among the aligned policy's answers to like prompts, the reward model {pays} (correlation"
        f" {_signed(interval)})."
    )


def win_rows(report: EvalReport) -> list[BarRow]:
    """Win rates over all prompts by the judge whose number decides a pair: raw, among pairs of like
    length, and with length held equal."""
    rows = []
    for metric, wins in report.win_rates.get(EVERYTHING, {}).items():
        judge = lowered(metric_name(metric))
        for name, estimate in (
            (judge, wins.rate),
            (f"{judge}, like length", wins.matched),
            (f"{judge}, length equal", wins.length_controlled),
        ):
            if estimate is not None:
                bar = interval_bar(
                    [Mark("aligned", estimate)],
                    Axis(0.0, 1.0),
                    f"wins by {name}: {_percent(estimate)}",
                    threshold=0.5,
                    good_side="above",
                )
                rows.append(BarRow(name, (bar,), (_percent(estimate),), (estimate.n,)))
    return rows


def guardrail_rows(measurement: Measurement, *, slices: bool = False) -> list[BarRow]:
    """Both error rates of the guardrail, overall and by tactic, or by slice; rates that are worse
    than overall for certain stand out."""
    named = (
        measurement.slices.items()
        if slices
        else [
            ("everything", measurement.overall),
            *((f"tactic {name}", rates) for name, rates in measurement.tactics.items()),
        ]
    )
    rows = []
    for name, rates in named:
        bars: list[Markup | str] = []
        for words, estimate, overall in (
            ("blocked without need", rates.fpr, measurement.overall.fpr),
            ("missed", rates.fnr, measurement.overall.fnr),
        ):
            stands_out = (
                estimate is not None and overall is not None and estimate.low > overall.high
            )
            mark = (
                [] if estimate is None else [Mark("worse" if stands_out else "aligned", estimate)]
            )
            bars.append(
                interval_bar(mark, Axis(0.0, 1.0), f"{name}, {words}: {_percent(mark[0].estimate)}")
                if mark
                else ""
            )
        texts = tuple(
            "none to judge" if estimate is None else _percent(estimate)
            for estimate in (rates.fpr, rates.fnr)
        )
        rows.append(
            BarRow(
                name,
                tuple(bars),
                texts,
                tuple(0 if estimate is None else estimate.n for estimate in (rates.fpr, rates.fnr)),
            )
        )
    return rows


def campaign_rows(campaigns: Sequence[CampaignReport]) -> list[BarRow]:
    """Successful attacks per person-hour, campaign by campaign."""
    if not campaigns:
        return []
    axis = axis_over([campaign.gamma.high for campaign in campaigns], floor=0.0, zero=True)
    bars = [
        interval_bar(
            [Mark("aligned", campaign.gamma)],
            axis,
            f"{campaign.campaign}: {_plain(campaign.gamma)} per hour",
        )
        for campaign in campaigns
    ]
    texts = [
        f"{_plain(campaign.gamma)}; {campaign.successes} of {campaign.attempts} attempts in"
        f" {campaign.hours:.1f} hours"
        for campaign in campaigns
    ]
    return [
        BarRow(campaign.campaign, (bar,), (text,), (campaign.attempts,))
        for campaign, bar, text in zip(campaigns, bars, texts, strict=True)
    ]


def _frontier_says(own: FrontierPoint | None, count: int) -> str:
    if own is None:
        return "The candidate has no point: its divergence or its reward could not be estimated."
    cost = (
        f"This policy moved {own.kl.value:.2f} nats per answer from the reference and gained"
        f" {own.reward.value:+.2f} reward."
    )
    if count == 1:
        return (
            f"{cost} No other recipe of this reference, reward model and vault was evaluated, so"
            " there is nothing to compare it with."
        )
    if own.dominated_by is not None:
        return (
            f"{cost} Recipe {own.dominated_by} gained at least as much for at most as much"
            " distance."
        )
    return f"{cost} No other of the {count} comparable policies gained as much for as little."


def _named(point: FrontierPoint) -> str:
    return point.recipe if point.beta is None else f"{point.recipe} (beta {point.beta:g})"


def _signed(estimate: Estimate) -> str:
    return f"{estimate.value:+.2f} [{estimate.low:+.2f}, {estimate.high:+.2f}]".replace(
        "-", "\N{MINUS SIGN}"
    )


def _plain(estimate: Estimate) -> str:
    return f"{estimate.value:.2f} [{estimate.low:.2f}, {estimate.high:.2f}]"


def _percent(estimate: Estimate) -> str:
    return f"{estimate.value:.1%} [{100 * estimate.low:.1f}, {100 * estimate.high:.1f}]"
