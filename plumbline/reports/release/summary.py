"""The figures of the page in short, for places that show no page: the metadata of the asset and the
terminal."""

from collections.abc import Iterator
from typing import Any, Final

from plumbline.reports.release.evidence import ReleaseEvidence
from plumbline.reports.release.measures import (
    BarRow,
    campaign_rows,
    figures_of,
    guardrail_rows,
    length_rows,
    win_rows,
)
from plumbline.reports.release.sentences import (
    HEADLINES,
    changes,
    lead,
    listed,
    metric_name,
    next_steps,
    omissions,
    worse_slices,
)

MAX_CASES: Final = 20
WIDTH: Final = 160
"""Characters of a text in a table."""


def page_summary(evidence: ReleaseEvidence) -> str:
    """Verdict, what to do next, what changed and what is missing, as Markdown; text from outside
    stands in it escaped."""
    decision, report = evidence.decision, evidence.report
    lines = [f"**{HEADLINES[decision.verdict]}.** {lead(decision)}", ""]
    lines += [
        f"{number}. {_plain(step.text)}"
        for number, step in enumerate(next_steps(decision), start=1)
    ]
    lines += ["", "| metric | before | after | difference | |", "|---|---|---|---|---|"]
    lines += [
        f"| {one.name} | {one.before} | {one.after} | {one.difference} |"
        f" {'' if one.direction == 'unclear' else one.direction} |"
        for one in changes(report)
    ]
    lines += [""] + [
        f"Worse on single slices: {metric_name(metric)}: {listed(names)}."
        for metric, names in worse_slices(report).items()
    ]
    lines += [
        "",
        *(
            f"- {_plain(what)}: {_plain(how)}"
            for what, how in omissions(
                report, evidence.accuracy is not None, len(evidence.campaigns)
            )
        ),
    ]
    return "\n".join(lines)


def case_rows(evidence: ReleaseEvidence) -> list[dict[str, Any]]:
    """The worst failure cases as flat rows, texts cut to the width of a table."""
    return [
        {
            "case": case.id,
            "kind": case.kind,
            "metric": case.metric,
            "slice": case.slice,
            "prompt": _cut(case.prompt[-1].content),
            "aligned": _cut(case.aligned.response),
            "reference": _cut(case.reference.response),
        }
        for case in evidence.cases[:MAX_CASES]
    ]


def figure_words(evidence: ReleaseEvidence) -> dict[str, Any]:
    """What every figure of the page says, by its title."""
    found: dict[str, Any] = {figure.title: figure.says for figure in figures_of(evidence)}
    bars = {
        "length": (
            length_rows(evidence.lengths, list(evidence.lengths.tokens))
            if evidence.lengths is not None
            else []
        ),
        "wins against the reference": win_rows(evidence.report),
        "guardrail": guardrail_rows(evidence.guardrail) if evidence.guardrail is not None else [],
        "successful attacks per person-hour": campaign_rows(evidence.campaigns),
    }
    return found | {title: dict(_texts(rows)) for title, rows in bars.items() if rows}


def _texts(rows: list[BarRow]) -> Iterator[tuple[str, str]]:
    for row in rows:
        yield row.name, "; ".join(row.texts)


def _cut(text: str) -> str:
    flat = " ".join(text.split())
    return flat if len(flat) <= WIDTH else flat[: WIDTH - 1] + "\N{HORIZONTAL ELLIPSIS}"


def _plain(text: str) -> str:
    """Text whose signs mean nothing in Markdown or HTML."""
    return "".join(f"\\{one}" if one in "\\`*_[]<>|#" else one for one in " ".join(text.split()))
