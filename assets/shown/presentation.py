"""How results look in the Dagster UI: tables and the token strip of the mask.

Markdown below 1,000 characters shows inline; longer text waits behind a click. Text from data or
models is escaped, never rendered.
"""

import html
import json
from collections.abc import Iterable, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import dagster as dg

from plumbline.release.decision import Decision
from plumbline.reports.tables import (
    CheckRow,
    GateRow,
    check_rows,
    cut,
    gate_rows,
    metric_rows,
)
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.kinds import (
    ADJUDICATION_QUEUE_FILE,
    CONTAMINATION_FILE,
    MASK_RECEIPT_FILE,
    NEAR_DUPLICATES_FILE,
)
from plumbline.schema.preferences import PreferencePair

if TYPE_CHECKING:
    from plumbline.data.quality.drift import DriftReport, PromptShift


Cells = Mapping[str, str | int | float]
"""One row of a table: its texts and numbers by column."""
INLINE = 960
"""Characters of markdown that Dagster shows inline."""


def counts_table(name: str, counts: Mapping[str, int]) -> dg.TableMetadataValue:
    """A table with one row for each count."""
    return table({name: key, "count": value} for key, value in counts.items())


def pairs_table(pairs: Sequence[PreferencePair]) -> dg.TableMetadataValue:
    """A few preference pairs, cut to the width of a screen."""
    return table(
        {
            "prompt": cut(pair.prompt[-1].content),
            "chosen": cut(pair.chosen),
            "rejected": cut(pair.rejected),
            "margin": round(pair.margin, 3),
            "votes": pair.votes,
            "slice": pair.context.slice,
        }
        for pair in pairs
    )


def drift_metadata(moved: "DriftReport", shift: "PromptShift | None") -> dict[str, Any]:
    """How far a version of the data moved, in the words of the UI."""
    mix: list[Cells] = [
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
                "mix": table(mix),
            }
        ),
        **({} if shift is None else {"prompts against deployment": shift.message}),
    }


def named_rows(folder: Path, rows: int = 10) -> dict[str, Any]:
    """The first rows that a person may want to look at: overlaps with the eval vault, near
    duplicates, pairs that wait for a decision."""
    names = {
        "contamination": CONTAMINATION_FILE,
        "near duplicates": NEAR_DUPLICATES_FILE,
        "adjudication queue": ADJUDICATION_QUEUE_FILE,
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
    return table(
        {
            "slice": row.slice,
            "metric": row.metric,
            **{side.replace("_", " "): _estimate(getattr(row.comparison, side)) for side in sides},
            "p adjusted": "" if (p := row.comparison.p_adjusted) is None else f"{p:.3g}",
            "n": row.comparison.aligned.n,
            "unscored": row.comparison.aligned.unscored,
        }
        for row in metric_rows(report)
    )


def checks_table(checks: Sequence[CheckVerdict]) -> dg.TableMetadataValue:
    """Every named check with its verdict, the reason in words and what to do."""
    return table(_by_column(row) for row in check_rows(checks))


def gates_table(decision: Decision) -> dg.TableMetadataValue:
    """Every gate with its verdict and the reason in words."""
    return table(_by_column(row) for row in gate_rows(decision.gates))


def estimates_table(estimates: Mapping[str, Estimate]) -> dg.TableMetadataValue:
    """Estimates by name, each with its interval."""
    return table(
        {
            "what": name,
            "estimate": _estimate(estimate),
            "n": estimate.n,
            "method": estimate.method,
        }
        for name, estimate in estimates.items()
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
                    "prompt": cut(prompt.prompt[-1].content),
                    "reference": cut(pair["reference"].response),
                    "aligned": cut(pair["aligned"].response),
                    "labels": f"{pair['reference'].label} -> {pair['aligned'].label}",
                }
            )
    return table(shown[:rows])


def mask_strip(folder: Path) -> dg.MarkdownMetadataValue:
    """The first training row, token by token: bold tokens are supervised, plain ones are masked."""
    receipt = json.loads((folder / MASK_RECEIPT_FILE).read_text())
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


def table(rows: Iterable[Cells]) -> dg.TableMetadataValue:
    """Rows as a table; the values of the first one give the names and the types of the columns."""
    rows = list(rows)
    first = rows[0] if rows else {"empty": ""}
    kinds = {str: "string", int: "int", float: "float"}
    columns = [dg.TableColumn(name, kinds[type(value)]) for name, value in first.items()]
    return dg.TableMetadataValue(
        records=[dg.TableRecord(dict(row)) for row in rows], schema=dg.TableSchema(columns)
    )


def _by_column(row: GateRow | CheckRow) -> dict[str, str]:
    return {name.replace("_", " "): value for name, value in row._asdict().items()}


def _estimate(estimate: Estimate | None) -> str:
    if estimate is None:
        return ""
    return f"{estimate.value:.3f} [{estimate.low:.3f}, {estimate.high:.3f}]"
