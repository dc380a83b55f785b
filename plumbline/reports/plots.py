"""Drawings in SVG: interval bars, curves with intervals, the reliability diagram and rows of rates.

On the release page a drawing stands inline: its colours come from the classes of the page's style
sheet, so one drawing serves light and dark. Elsewhere, as in the Dagster UI, `picture` makes of it
a file that carries its style. A bar has no view box: its places are percentages of its width, so it
fits a phone and a printed page without being distorted. Every drawing carries its numbers as its
accessible name.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from markupsafe import Markup

from plumbline.schema.estimates import Estimate
from plumbline.text.unsafe_characters import visible

ROW: Final = 9
"""Height that one interval takes in a bar, in pixels."""
PLOT: Final = (380, 250)
"""Size of a plot with two axes, in units of its view box, which are pixels on a phone."""
MARGIN: Final = (46, 12, 14, 38)
"""Left, right, top and bottom of a plot."""
NAMES: Final = 100
"""Width of the names beside rows of rates."""
HEAD: Final = 24
"""Height that the title of a plot takes in a picture."""
_STYLE: Final = Markup(
    "svg{overflow:visible}text{font:11px system-ui,sans-serif;fill:#6d7079}"
    ".base{stroke:#cfccc4}.grid{stroke:#e4e2dc}.zero,.tick,.equal{stroke:#6d7079}"
    ".zero{stroke-dasharray:2 2}.equal{stroke-dasharray:3 3}"
    "g{color:#8a8d96}g.aligned{color:#4338ca}g circle{fill:currentColor;stroke:#fff}"
    "g line{stroke:currentColor;stroke-width:2;stroke-linecap:round}"
    ".joined{fill:none;stroke:#4338ca;stroke-width:1.5;opacity:.35}.title,.head{fill:#5d6069}"
)
"""The light colours of the release page, for a picture that stands alone on white."""


class Axis(NamedTuple):
    """A linear scale."""

    low: float
    high: float

    def share(self, value: float) -> float:
        """Where a value lies, 0 at the low end and 1 at the high end; values beyond the ends lie on
        them."""
        return min(max((value - self.low) / (self.high - self.low), 0.0), 1.0)

    def percent(self, value: float) -> str:
        """The same as a length in SVG."""
        return f"{100 * self.share(value):.2f}%"

    def ticks(self, count: int = 4) -> tuple[float, ...]:
        """Round values on the axis, at most one more than this."""
        step = _round_step((self.high - self.low) / count)
        first = math.ceil(self.low / step - 1e-9)
        return tuple(step * i for i in range(first, math.floor(self.high / step + 1e-9) + 1))


class Mark(NamedTuple):
    """One interval of a bar or a plot."""

    kind: str
    """Class of the style sheet: reference, aligned, champion, better, worse, unclear, or a
    verdict."""
    estimate: Estimate


class Point(NamedTuple):
    """One point of a plot: two intervals, or a number and an interval."""

    x: float
    x_low: float
    x_high: float
    y: Estimate
    name: str
    kind: str = "aligned"


class Plot(NamedTuple):
    """A drawing with its title."""

    title: str
    label: str
    """What it shows, in words and numbers, for people who do not see it."""
    body: Markup
    height: int = PLOT[1]

    def html(self) -> Markup:
        """For a page: the title as a caption, and the drawing as inline SVG."""
        return Markup(
            '<figcaption class="y-title">{}</figcaption><svg class="plot" role="img"'
            ' aria-label="{}" viewBox="0 0 {} {}">{}</svg>'
        ).format(visible(self.title), visible(self.label), PLOT[0], self.height, self.body)


def axis_over(
    values: Iterable[float],
    *,
    floor: float | None = None,
    ceiling: float | None = None,
    zero: bool = False,
) -> Axis:
    """An axis that holds all values with a little room, and ends on round numbers.

    Args:
        values: What has to be on it.
        floor: The least value that the quantity can have.
        ceiling: The greatest one.
        zero: Whether zero has to be on it.
    """
    values = [*values, *([0.0] if zero else [])]
    low, high = min(values), max(values)
    room = 0.06 * (high - low) or 0.5
    step = _round_step((high - low + 2 * room) / 8)
    low, high = math.floor((low - room) / step) * step, math.ceil((high + room) / step) * step
    return Axis(
        low if floor is None else max(low, floor), high if ceiling is None else min(high, ceiling)
    )


def interval_bar(
    marks: Sequence[Mark],
    axis: Axis,
    label: str,
    *,
    threshold: float | None = None,
    good_side: str | None = None,
) -> Markup:
    """Intervals above each other on one scale.

    Args:
        marks: The intervals, from the top.
        axis: Their common scale.
        label: What the bar shows, in words and numbers, for people who do not see it.
        threshold: Where a gate's line is drawn.
        good_side: `below` or `above` shades the side of the threshold on which the gate passes.
    """
    height = ROW * len(marks) + ROW
    parts = []
    if threshold is not None:
        at = axis.share(threshold)
        start, width = (0.0, at) if good_side == "below" else (at, 1 - at)
        parts.append(
            Markup('<rect class="allowed" x="{}%" width="{}%" y="0" height="{}"/>').format(
                f"{100 * start:.2f}", f"{100 * width:.2f}", height
            )
        )
    parts.append(
        Markup('<line class="base" x1="0" x2="100%" y1="{0}" y2="{0}"/>').format(height - 0.5)
    )
    if axis.low < 0 < axis.high:
        parts.append(
            Markup('<line class="zero" x1="{0}" x2="{0}" y1="0" y2="{1}"/>').format(
                axis.percent(0), height
            )
        )
    if threshold is not None:
        parts.append(
            Markup('<line class="threshold" x1="{0}" x2="{0}" y1="-2" y2="{1}"/>').format(
                axis.percent(threshold), height + 2
            )
        )
    parts += [_interval(mark, axis, ROW * (i + 1) - 0.5) for i, mark in enumerate(marks)]
    return Markup(
        '<svg class="bar" role="img" aria-label="{}" width="100%" height="{}">{}</svg>'
    ).format(visible(label), height, Markup("").join(parts))


def scale(axis: Axis, texts: Sequence[tuple[float, str]]) -> Markup:
    """The numbers under a group of bars."""
    ticks = []
    for value, text in texts:
        share = axis.share(value)
        anchor = "start" if share < 0.04 else "end" if share > 0.96 else "middle"
        ticks.append(
            Markup('<text x="{}" y="11" text-anchor="{}">{}</text>').format(
                axis.percent(value), anchor, text
            )
        )
    return Markup('<svg class="scale" aria-hidden="true" width="100%" height="14">{}</svg>').format(
        Markup("").join(ticks)
    )


def plot(
    points: Sequence[Point],
    x: Axis,
    y: Axis,
    *,
    x_title: str,
    y_title: str,
    label: str,
    joined: bool = False,
    diagonal: bool = False,
    named: bool = False,
) -> Plot:
    """Points with their intervals on two axes.

    Args:
        points: In the order in which a line joins them.
        x: Scale of the first number.
        y: Scale of the second.
        x_title: What the first number is, with its unit.
        y_title: What the second number is, with its unit.
        label: What the plot shows, in words, for people who do not see it.
        joined: Whether a line joins the points.
        diagonal: Whether the line of equality is drawn.
        named: Whether each point's name stands beside it.
    """
    place = _Place(x, y)
    parts = _axes(place)
    if diagonal:
        low, high = max(x.low, y.low), min(x.high, y.high)
        line = Markup('<line class="equal" x1="{}" y1="{}" x2="{}" y2="{}"/>')
        parts.append(
            line.format(place.across(low), place.up(low), place.across(high), place.up(high))
        )
    if joined:
        path = " ".join(f"{place.across(point.x)},{place.up(point.y.value)}" for point in points)
        parts.append(Markup('<polyline class="joined" points="{}"/>').format(path))
    parts += [_point(point, place, named=named) for point in points]
    parts.append(
        Markup('<text class="title" x="{}" y="{}" text-anchor="end">{}</text>').format(
            PLOT[0] - MARGIN[1], PLOT[1] - 5, visible(x_title)
        )
    )
    return Plot(y_title, label, Markup("").join(parts))


def rate_rows(rows: Mapping[str, Sequence[Mark]], title: str) -> Plot:
    """Intervals of shares, one row for each name.

    Args:
        rows: The intervals by name, from the top.
        title: What the shares are.
    """
    axis, parts, y = Axis(0.0, 1.0), [], 0
    labels = []
    frame = Markup('<svg x="{}" y="{}" width="{}" height="{}">{}</svg>')
    width = PLOT[0] - NAMES - MARGIN[1]
    for name, marks in rows.items():
        height = ROW * len(marks) + ROW
        label = f"{name}: " + ", ".join(f"{mark.kind} {mark.estimate.value:.1%}" for mark in marks)
        text = Markup('<text x="{}" y="{}" text-anchor="end">{}</text>')
        parts.append(text.format(NAMES - 8, y + height / 2 + 4, visible(name)))
        parts.append(frame.format(NAMES, y, width, height, interval_bar(marks, axis, label)))
        labels.append(label)
        y += height
    ticks = scale(axis, [(tick, f"{tick:.0%}") for tick in axis.ticks()])
    parts.append(frame.format(NAMES, y, width, 14, ticks))
    return Plot(title, "; ".join(labels), Markup("").join(parts), y + 20)


def picture(plots: Sequence[Plot], kinds: Sequence[str] = ()) -> str:
    """Plots side by side as an SVG file of their own, on white.

    Args:
        plots: From the left.
        kinds: Kinds of marks that a legend names.
    """
    step, pad = PLOT[0] + 2 * MARGIN[1], MARGIN[1]
    foot = HEAD if kinds else 0
    tall = max(drawing.height for drawing in plots)
    parts = [
        Markup(
            '<text class="head" x="{x}" y="16">{}</text><svg x="{x}" y="{}" width="{}"'
            ' height="{}">{}</svg>'
        ).format(
            visible(drawing.title), HEAD, PLOT[0], drawing.height, drawing.body, x=pad + step * i
        )
        for i, drawing in enumerate(plots)
    ]
    parts += [
        Markup(
            '<g class="{kind}"><circle cx="{}" cy="{}" r="4"/></g><text x="{}" y="{}">{kind}</text>'
        ).format(pad + 4 + 90 * i, HEAD + tall + 10, pad + 14 + 90 * i, HEAD + tall + 14, kind=kind)
        for i, kind in enumerate(kinds)
    ]
    return Markup(
        '<svg xmlns="http://www.w3.org/2000/svg" width="{}" height="{}"><style>{}</style>'
        '<rect width="100%" height="100%" fill="#fff"/>{}</svg>'
    ).format(step * len(plots), HEAD + tall + foot, _STYLE, Markup("").join(parts))


def sparkline(values: Sequence[float]) -> str:
    """A line through at least two values as an SVG file of some 300 bytes: no axis, no text."""
    low, high = min(values), max(values)
    points = " ".join(
        f"{round(i * 200 / (len(values) - 1))},{round(38 - 36 * (v - low) / ((high - low) or 1))}"
        for i, v in enumerate(values)
    )
    return (
        "<svg xmlns='http://www.w3.org/2000/svg' width='200' height='40'><polyline"
        f" points='{points}' fill='none' stroke='#4f43dd' stroke-width='1.5'/></svg>"
    )


class _Place(NamedTuple):
    """Where numbers lie in the view box of a plot."""

    x: Axis
    y: Axis

    def across(self, value: float) -> str:
        return f"{MARGIN[0] + self.x.share(value) * (PLOT[0] - MARGIN[0] - MARGIN[1]):.1f}"

    def up(self, value: float) -> str:
        return (
            f"{PLOT[1] - MARGIN[3] - self.y.share(value) * (PLOT[1] - MARGIN[2] - MARGIN[3]):.1f}"
        )


def _axes(place: _Place) -> list[Markup]:
    """Grid, ticks, base line and zero line."""
    left, end, floor = MARGIN[0], PLOT[0] - MARGIN[1], PLOT[1] - MARGIN[3]
    parts = [
        Markup(
            '<line class="grid" x1="{}" x2="{}" y1="{y}" y2="{y}"/><text x="{}" y="{y}" dy="3.5"'
            ' text-anchor="end">{}</text>'
        ).format(left, end, left - 6, _number(tick), y=place.up(tick))
        for tick in place.y.ticks()
    ]
    parts += [
        Markup(
            '<line class="tick" x1="{x}" x2="{x}" y1="{}" y2="{}"/><text x="{x}" y="{}"'
            ' text-anchor="middle">{}</text>'
        ).format(floor, floor + 4, floor + 16, _number(tick), x=place.across(tick))
        for tick in place.x.ticks()
    ]
    parts.append(
        Markup('<line class="base" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(left, end, y=floor)
    )
    if place.y.low < 0 < place.y.high:
        parts.append(
            Markup('<line class="zero" x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                left, end, y=place.up(0)
            )
        )
    return parts


def _point(point: Point, place: _Place, *, named: bool) -> Markup:
    x, y = place.across(point.x), place.up(point.y.value)
    parts = [
        Markup("<title>{}</title>").format(visible(point.name)),
        Markup('<line x1="{x}" x2="{x}" y1="{}" y2="{}"/>').format(
            place.up(point.y.low), place.up(point.y.high), x=x
        ),
    ]
    if point.x_low < point.x_high:
        parts.append(
            Markup('<line x1="{}" x2="{}" y1="{y}" y2="{y}"/>').format(
                place.across(point.x_low), place.across(point.x_high), y=y
            )
        )
    parts.append(Markup('<circle cx="{}" cy="{}" r="4"/>').format(x, y))
    if named:
        anchor, shift = ("end", -8) if place.x.share(point.x) > 0.6 else ("start", 8)
        text = Markup('<text class="name" x="{}" y="{}" dx="{}" dy="-8" text-anchor="{}">{}</text>')
        parts.append(text.format(x, y, shift, anchor, visible(point.name)))
    return Markup('<g class="{}">{}</g>').format(point.kind, Markup("").join(parts))


def _interval(mark: Mark, axis: Axis, y: float) -> Markup:
    estimate = mark.estimate
    return Markup(
        '<g class="{}"><line x1="{}" x2="{}" y1="{y}" y2="{y}"/><circle cx="{}" cy="{y}"'
        ' r="3.5"/></g>'
    ).format(
        mark.kind,
        axis.percent(estimate.low),
        axis.percent(estimate.high),
        axis.percent(estimate.value),
        y=y,
    )


def _round_step(least: float) -> float:
    """The smallest of 1, 2, 2.5, 5 and 10 times a power of ten that is not below."""
    power = 10.0 ** math.floor(math.log10(least))
    return float(
        min(factor for factor in (1, 2, 2.5, 5, 10) if factor * power >= least * (1 - 1e-9)) * power
    )


def _number(value: float) -> str:
    return f"{value + 0.0:.4g}".replace("-", "\N{MINUS SIGN}")
