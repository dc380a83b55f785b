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
from plumbline.reports.tables import cut, markdown_table

MAX_CASES: Final = 20


def page_summary(evidence: ReleaseEvidence) -> str:
    """Verdict, what to do next, what changed and what is missing, as Markdown; text from outside
    stands in it escaped."""
    decision, report = evidence.decision, evidence.report
    lines = [f"**{HEADLINES[decision.verdict]}.** {lead(decision)}", ""]
    lines += [
        f"{number}. {_plain(step.text)}"
        for number, step in enumerate(next_steps(decision), start=1)
    ]
    lines += [""]
    lines += markdown_table(
        ("metric", "before", "after", "difference", ""),
        [
            (
                change.name,
                change.before,
                change.after,
                change.difference,
                "" if change.direction == "unclear" else change.direction,
            )
            for change in changes(report)
        ],
    )
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
            "prompt": cut(case.prompt[-1].content),
            "aligned": cut(case.aligned.response),
            "reference": cut(case.reference.response),
        }
        for case in evidence.cases[:MAX_CASES]
    ]


def figure_words(evidence: ReleaseEvidence) -> dict[str, Any]:
    """What every figure of the page says, by its title."""
    words: dict[str, Any] = {figure.title: figure.says for figure in figures_of(evidence)}
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
    return words | {title: dict(_texts(rows)) for title, rows in bars.items() if rows}


def _texts(rows: list[BarRow]) -> Iterator[tuple[str, str]]:
    for row in rows:
        yield row.name, "; ".join(row.texts)


def _plain(text: str) -> str:
    """Text whose signs mean nothing in Markdown or HTML."""
    return "".join(
        f"\\{sign}" if sign in "\\`*_[]<>|#" else sign for sign in " ".join(text.split())
    )
