"""A lineage as a tree for people: digests shortened to 12 hex digits, one line for each thing worth
knowing."""

from collections.abc import Iterator, Mapping
from typing import Any

from rich.console import Console, Group
from rich.padding import Padding
from rich.table import Table
from rich.text import Text
from rich.tree import Tree

from plumbline.audit.walk import Lineage, Node
from plumbline.lineage.findings import Finding
from plumbline.records import short
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    DEMONSTRATIONS,
    EVAL_VAULT,
    FEEDBACK_BATCH,
    HELD_OUT_EVALS,
    PREFERENCE_DATA,
    RED_TEAM_CAMPAIGN,
    REFERENCE_POLICY,
    REFUSAL_DETECTOR,
    RELEASE_DECISION,
    RELEASE_REPORT,
    REWARD_MODEL,
)
from plumbline.text.unsafe_characters import printable

ORDER = (
    *(
        RELEASE_DECISION,
        RELEASE_REPORT,
        HELD_OUT_EVALS,
        "guardrail",
        "judges",
        REFUSAL_DETECTOR,
        RED_TEAM_CAMPAIGN,
        ALIGNED_POLICY,
        REWARD_MODEL,
        REFERENCE_POLICY,
        PREFERENCE_DATA,
        DEMONSTRATIONS,
        FEEDBACK_BATCH,
    ),
    *(EVAL_VAULT, "rubric", "samples", "missing"),
)
"""Kinds of parents in the order in which they are drawn: the chain of evidence first, so that
everything else stands below it."""

SHOWN = 4
"""Siblings of one kind that are drawn when more than this many are fine; the rest are counted."""

SHORT = 40
"""Characters up to which facts share a line."""

FACTS = (
    *(
        "label",
        "owner",
        "approved_by",
        "verdict",
        "recipe",
        "objective",
        "loss",
        "beta",
        "sft_weight",
    ),
    *("label_smoothing", "weighted", "margin_scale", "margins", "centering", "thresholds"),
    *(
        "mask",
        "masks",
        "rows",
        "rows_in",
        "rejected",
        "events",
        "accepted",
        "quarantined",
        "reasons",
        "splits",
        "counts",
        "slices",
        "samples",
    ),
    *("released_by", "override", "signed_by", "promotion", "checks"),
    *(
        "steps",
        "resumed_from",
        "seed",
        "decoder",
        "scorer",
        "level",
        "parameters",
        "registered_model",
    ),
)
"""Facts that are drawn, in this order; all others are in the JSON."""


def draw(lineage: Lineage, not_asked: Mapping[str, str], console: Console) -> None:
    """Print the tree, the findings and the summary.

    Args:
        lineage: What the walk found.
        not_asked: Cross-checks that were not made, and why.
        console: Where to print.
    """
    faulty = {finding.artifact for finding in lineage.findings}
    drawn: set[str] = set()
    root = Tree(_described(lineage.root, lineage, faulty), guide_style="dim")
    _grow(root, lineage.root, lineage, faulty, drawn)
    console.print(root)
    console.print()
    for number, finding in enumerate(lineage.findings, 1):
        console.print(_finding(number, finding, lineage))
    console.print(_summary(lineage, not_asked))


def _grow(branch: Tree, digest: str, lineage: Lineage, faulty: set[str], drawn: set[str]) -> None:
    """Add what is known about an artifact and then its parents; an artifact that was drawn already
    is only named."""
    drawn.add(digest)
    node = lineage.nodes.get(digest)
    if node is None:
        return
    by_kind: dict[str, list[tuple[str, str]]] = {}
    for role, parent in node.parents.items():
        kind = lineage.nodes[parent].kind if parent in lineage.nodes else "missing"
        by_kind.setdefault(kind, []).append((role, parent))
    for kind, parents in sorted(
        by_kind.items(), key=lambda item: ORDER.index(item[0]) if item[0] in ORDER else -1
    ):
        fine = [pair for pair in parents if pair[1] not in faulty and kind != "missing"]
        hidden = {parent for _, parent in fine[SHOWN:]} if len(fine) > SHOWN + 1 else set()
        for role, parent in parents:
            if parent in hidden:
                continue
            if parent in drawn:
                branch.add(_title(parent, lineage, faulty, role).append("  (see above)", "dim"))
            else:
                _grow(
                    branch.add(_described(parent, lineage, faulty, role)),
                    parent,
                    lineage,
                    faulty,
                    drawn,
                )
        if hidden:
            branch.add(
                Text(
                    f"and {len(hidden)} more of kind {kind}, all verified (--json lists them)",
                    style="dim",
                )
            )


def _title(digest: str, lineage: Lineage, faulty: set[str], role: str | None = None) -> Text:
    node = lineage.nodes.get(digest)
    text = Text()
    if node is None:
        return text.append(printable(f"{role or 'artifact'} {short(digest)}  "), "bold").append(
            "MISSING", "bold red"
        )
    text.append(node.kind, "bold").append(f" {short(digest)}  ", "cyan")
    fine = ("verified", "green") if node.erased is None else ("ERASED", "bold yellow")
    text.append(*(("FINDINGS", "bold red") if digest in faulty else fine))
    return text


def _described(digest: str, lineage: Lineage, faulty: set[str], role: str | None = None) -> Group:
    """The title of an artifact and the lines about it."""
    node = lineage.nodes.get(digest)
    lines = (
        []
        if node is None
        else [
            Padding(Text(printable(line), "dim"), (0, 0, 0, 2), expand=False)
            for line in _lines(node)
        ]
    )
    return Group(_title(digest, lineage, faulty, role), *lines)


def _lines(node: Node) -> Iterator[str]:
    if node.erased is not None:
        yield f"its files were erased: {node.erased}; their digests give the data version"
    yield (
        f"data {short(node.tree)} · {node.files} files, {_bytes(node.size)} · profile"
        f" {short(node.config)}"
    )
    shown = [
        f"{name} {_brief(node.facts[name])}"
        for name in FACTS
        if node.facts.get(name) not in (None, {}, [], "")
    ]
    if any(len(fact) <= SHORT for fact in shown):
        yield " · ".join(fact for fact in shown if len(fact) <= SHORT)
    yield from (fact for fact in shown if len(fact) > SHORT)
    for record in node.productions:
        where = record.asset + (f"[{record.partition}]" if record.partition is not None else "")
        parts = [
            f"made by {where} in run {record.dagster_run[:8]}"
            + (" (reused, no step trained)" if record.cached else "")
        ]
        parts += [f"MLflow {record.mlflow_run[:8]}"] if record.mlflow_run else []
        parts += [f"DVC {record.dvc[:12]}"] if record.dvc else []
        yield " · ".join(parts)
    commit = "of no known commit" if node.code.commit == "unknown" else node.code.commit[:12]
    yield f"code {commit}" + (" with uncommitted changes" if node.code.dirty else "")


def _brief(value: Any) -> str:
    """A fact on part of a line: digests shortened, long lists counted, mappings as `key value`
    pairs."""
    if isinstance(value, str):
        return short(value) if value.startswith("sha256:") else value
    if value in ({}, [], None):
        return "none"
    if isinstance(value, dict):
        return "(" + ", ".join(f"{key} {_brief(item)}" for key, item in value.items()) + ")"
    if isinstance(value, list):
        return (
            "[" + ", ".join(_brief(item) for item in value) + "]"
            if len(value) <= SHOWN
            else f"{len(value)} entries"
        )
    if isinstance(value, float):
        return f"{value:.4g}"
    return f"{value:,}" if isinstance(value, int) and not isinstance(value, bool) else str(value)


def _finding(number: int, finding: Finding, lineage: Lineage) -> Table:
    """One finding with hanging indents; digests and paths are broken rather than cut."""
    node = lineage.nodes.get(finding.artifact)
    rows = Table.grid(padding=(0, 1))
    rows.add_column(width=8)
    rows.add_column(overflow="fold")
    rows.add_row(
        Text(f"{number}.", "bold red"),
        Text(
            f"{node.kind if node else 'artifact'} {short(finding.artifact)}:"
            f" {printable(finding.what)}",
            "bold",
        ),
    )
    for name, value in (("expected", finding.expected), ("found", finding.found or "nothing")):
        if value is not None:
            rows.add_row(name, Text(printable(value)))
    rows.add_row("to do", Text(printable(finding.remedy), "yellow"))
    return rows


def _summary(lineage: Lineage, not_asked: Mapping[str, str]) -> Text:
    nodes = lineage.nodes.values()
    distinct = {node.tree: node for node in nodes if node.erased is None}.values()
    counted = (
        f"{len(nodes)} artifacts, {sum(n.files for n in distinct)} files"
        f" ({_bytes(sum(n.size for n in distinct))}) re-hashed"
    )
    erased = len({node.tree for node in nodes if node.erased is not None})
    counted += f", {erased} erased and known by their digests only" if erased else ""
    checked = (
        f"{sum(len(node.productions) for node in nodes)} productions checked against"
        f" {', '.join(lineage.cross_checks)}"
    )
    faults = len(lineage.findings)
    verdict = (
        Text(f"{faults} finding{'s' if faults > 1 else ''}", "bold red")
        if faults
        else Text("verified", "bold green")
    )
    verdict.append(f": {counted}; {checked}", "default")
    for system, reason in not_asked.items():
        verdict.append(f"\nnot cross-checked: {system} ({reason})", "yellow")
    return verdict


def _bytes(size: int) -> str:
    return (
        f"{size / 1e6:,.1f} MB"
        if size >= 1e6
        else f"{size / 1e3:,.1f} kB"
        if size >= 1e3
        else f"{size} B"
    )
