"""How results look in the Dagster UI: tables, plots and the token strip of the mask.

Markdown below 1,000 characters shows inline; longer text waits behind a click. Text from data or
models is escaped, never rendered.
"""

import base64
import html
import io
import json
from collections.abc import Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from plumbline.release.decision import Decision
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.preferences import PreferencePair
from plumbline.schema.prompts import EvalPrompt

if TYPE_CHECKING:
    from plumbline.data.quality.drift import DriftReport, PromptShift


INLINE = 960
"""Characters of markdown that Dagster shows inline."""


def counts_table(name: str, counts: Mapping[str, int]) -> dg.TableMetadataValue:
    """A table with one row for each count."""
    return _table(
        [{name: key, "count": value} for key, value in counts.items()], integers={"count"}
    )


def pairs_table(pairs: Sequence[PreferencePair]) -> dg.TableMetadataValue:
    """A few preference pairs, cut to the width of a screen."""
    rows = [
        {
            "prompt": _cut(p.prompt[-1].content),
            "chosen": _cut(p.chosen),
            "rejected": _cut(p.rejected),
            "margin": round(p.margin, 3),
            "votes": p.votes,
            "slice": p.context.slice,
        }
        for p in pairs
    ]
    return _table(rows, integers={"votes"}, floats={"margin"})


def drift_metadata(moved: "DriftReport", shift: "PromptShift | None") -> dict[str, Any]:
    """How far a version of the data moved, in the words of the UI."""
    mix = [
        {"slice": name, "before": round(before, 4), "now": round(now, 4)}
        for name, (before, now) in moved.mix.items()
    ]
    longer = moved.longer_wins
    return {
        "drift": moved.status,
        "labels turned round": f"{moved.flipped} of {moved.common} pairs that both versions have",
        "longer response wins": (
            "no pair of unequal length"
            if longer is None
            else f"{longer.value:.1%} [{longer.low:.1%}, {longer.high:.1%}]"
        ),
        **(
            {}
            if moved.mix_distance is None
            else {
                "mix moved by": round(moved.mix_distance, 4),
                "mix": _table(mix, floats={"before", "now"}),
            }
        ),
        **({} if shift is None else {"prompts against deployment": shift.message}),
    }


def named_rows(folder: Path, rows: int = 10) -> dict[str, Any]:
    """The first rows that a person may want to look at: overlaps with the eval vault, near
    duplicates, pairs that wait for a decision."""
    names = {
        "contamination": "contamination.jsonl",
        "near duplicates": "near_duplicates.jsonl",
        "adjudication queue": "adjudication_queue.jsonl",
    }
    shown: dict[str, Any] = {}
    for title, name in names.items():
        with (folder / name).open("rb") as stream:
            first = [json.loads(line) for line in islice(stream, rows)]
        if title == "adjudication queue":
            first = [
                {
                    "item": row["item"],
                    "agreement": row["agreement"],
                    "votes": len(row["votes"]),
                    "clauses": row["clauses"],
                }
                for row in first
            ]
        shown[title] = dg.MetadataValue.json(first)
    return shown


def comparison_table(report: EvalReport) -> dg.TableMetadataValue:
    """Reference against aligned, and champion where there is one, on every slice and metric, each
    with its interval."""
    sides = (
        "reference",
        "aligned",
        "difference",
        *(("against_champion",) if report.champion is not None else ()),
    )
    rows = []
    for name, metrics in report.slices.items():
        for metric, comparison in metrics.items():
            row: dict[str, Any] = {"slice": name, "metric": metric}
            for side in sides:
                estimate = getattr(comparison, side)
                row[side.replace("_", " ")] = "" if estimate is None else _estimate(estimate)
            adjusted = comparison.p_adjusted
            aligned = comparison.aligned
            rows.append(
                row
                | {
                    "p adjusted": "" if adjusted is None else f"{adjusted:.3g}",
                    "n": aligned.n,
                    "unscored": aligned.unscored,
                }
            )
    return _table(rows, integers={"n", "unscored"})


def checks_table(checks: Sequence[CheckVerdict]) -> dg.TableMetadataValue:
    """Every named check with its verdict, the reason in words and what to do."""
    return _table(
        [
            {
                "check": one.name,
                "verdict": one.verdict,
                "explanation": one.explanation,
                "what to do": one.remedy,
            }
            for one in checks
        ]
    )


def estimates_table(estimates: Mapping[str, Estimate]) -> dg.TableMetadataValue:
    """Estimates by name, each with its interval."""
    return _table(
        [
            {"what": name, "estimate": _estimate(one), "n": one.n, "method": one.method}
            for name, one in estimates.items()
        ],
        integers={"n"},
    )


def gates_table(decision: Decision) -> dg.TableMetadataValue:
    """Every gate with its verdict and the reason in words."""
    return _table(
        [
            {
                "gate": g.gate.id,
                "verdict": g.verdict,
                "explanation": g.explanation,
                "reason": g.gate.reason,
                "owner": g.gate.owner,
            }
            for g in decision.gates
        ]
    )


def samples_table(
    prompts: Sequence[EvalPrompt], scored: Sequence[Any], rows: int = 12
) -> dg.TableMetadataValue:
    """Reference and aligned responses side by side, one prompt from each slice in turn."""
    by_prompt: dict[str, dict[str, Any]] = {}
    for row in scored:
        by_prompt.setdefault(row.prompt_id, {})[row.policy] = row
    shown, seen = [], set()
    for prompt in prompts:
        if (
            prompt.context.slice not in seen
            and {"reference", "aligned"} <= by_prompt.get(prompt.id, {}).keys()
        ):
            seen.add(prompt.context.slice)
            pair = by_prompt[prompt.id]
            shown.append(
                {
                    "slice": prompt.context.slice,
                    "prompt": _cut(prompt.prompt[-1].content),
                    "reference": _cut(pair["reference"].response),
                    "aligned": _cut(pair["aligned"].response),
                    "labels": f"{pair['reference'].label} -> {pair['aligned'].label}",
                }
            )
    return _table(shown[:rows])


def loss_plot(folder: Path) -> dg.MarkdownMetadataValue:
    """The training loss as an inline sparkline with its first and last value."""
    history = [json.loads(line) for line in (folder / "history.jsonl").read_text().splitlines()]
    losses = [float(row["metrics"]["loss"]) for row in history if "loss" in row["metrics"]]
    if len(losses) < 2:
        return dg.MarkdownMetadataValue(f"{len(losses)} loss values logged")
    thinned = losses[:: max(1, len(losses) // 24)]
    low, high = min(thinned), max(thinned)
    points = " ".join(
        f"{round(i * 200 / (len(thinned) - 1))},{round(38 - 36 * (v - low) / ((high - low) or 1))}"
        for i, v in enumerate(thinned)
    )
    svg = (
        "<svg xmlns='http://www.w3.org/2000/svg' width='200' height='40'><polyline"
        f" points='{points}' fill='none' stroke='#4f43dd' stroke-width='1.5'/></svg>"
    )
    picture = base64.b64encode(svg.encode()).decode()
    return dg.MarkdownMetadataValue(
        f"{losses[0]:.3f} ![loss](data:image/svg+xml;base64,{picture}) {losses[-1]:.3f}"
    )


def mask_strip(folder: Path) -> dg.MarkdownMetadataValue:
    """The first training row, token by token: bold tokens are supervised, plain ones are masked."""
    receipt = json.loads((folder / "mask_receipt.json").read_text())
    split = receipt["splits"][next(iter(receipt["splits"]))]
    words, length = [], 0
    for token in split["strip"]:
        text = (
            html.escape(token["token"].strip("▁ ") or "␣")
            .replace("*", "\\*")
            .replace("_", "\\_")
            .replace("|", "\\|")
        )
        word = f"**{text}**" if token["supervised"] else text
        length += len(word) + 3
        if length > INLINE - 160:
            words.append("…")
            break
        words.append(word)
    return dg.MarkdownMetadataValue(
        f"{split['supervised_tokens']:,} tokens supervised, {split['masked_tokens']:,} masked; bold"
        " is supervised: " + " · ".join(words)
    )


def comparison_plot(report: EvalReport) -> dg.MarkdownMetadataValue:
    """Reference and aligned rates with their intervals, one panel for each metric that is a
    rate."""
    import matplotlib

    matplotlib.use("Agg")
    from matplotlib.figure import Figure

    metrics = [
        m
        for m in ("harmful_compliance", "over_refusal", "correctness")
        if any(m in values for values in report.slices.values())
    ]
    if not metrics:
        return dg.MarkdownMetadataValue("no rate to plot")
    figure = Figure(figsize=(4.2 * len(metrics), 3.4), dpi=80, layout="constrained")
    for position, metric in enumerate(metrics, start=1):
        axes = figure.add_subplot(1, len(metrics), position)
        names = [
            name
            for name, values in report.slices.items()
            if metric in values and name.rpartition(".")[0] not in report.slices
        ]  # no variants
        for offset, side, colour in ((-0.15, "reference", "#9aa0a6"), (0.15, "aligned", "#4f43dd")):
            for row, name in enumerate(names):
                estimate = getattr(report.slices[name][metric], side)
                if estimate is not None:
                    axes.plot(
                        [estimate.low, estimate.high], [row + offset] * 2, color=colour, linewidth=2
                    )
                    axes.plot(
                        [estimate.value],
                        [row + offset],
                        "o",
                        color=colour,
                        markersize=4,
                        label=side if row == 0 else None,
                    )
        axes.set_yticks(range(len(names)), names, fontsize=7)
        axes.set_xlim(-0.02, 1.02)
        axes.set_title(metric.replace("_", " "), fontsize=9)
        axes.legend(fontsize=7, loc="lower right")
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    return dg.MarkdownMetadataValue(
        "![reference and"
        f" aligned](data:image/png;base64,{base64.b64encode(buffer.getvalue()).decode()})"
    )


def _estimate(one: Estimate) -> str:
    return f"{one.value:.3f} [{one.low:.3f}, {one.high:.3f}]"


def _cut(text: str, width: int = 160) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= width else flat[: width - 1] + "…"


def _table(
    rows: Sequence[Mapping[str, Any]],
    integers: frozenset[str] | set[str] = frozenset(),
    floats: frozenset[str] | set[str] = frozenset(),
) -> dg.TableMetadataValue:
    columns = list(rows[0]) if rows else ["empty"]
    kinds = {
        name: "int" if name in integers else "float" if name in floats else "string"
        for name in columns
    }
    schema = dg.TableSchema(
        columns=[dg.TableColumn(name=name, type=kinds[name]) for name in columns]
    )
    return dg.TableMetadataValue(records=[dg.TableRecord(dict(row)) for row in rows], schema=schema)
