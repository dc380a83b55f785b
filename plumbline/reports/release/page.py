"""The release page: one HTML file that loads nothing, runs one small script of its own and shows
every text escaped.

Texts of prompts, responses, people and configuration come from outside. The template engine escapes
all of them, characters without a look of their own are written out (see `visible`), and the content
security policy allows this page's one style sheet, its one script and nothing else. Without the
script the page is complete: it only filters the failure cases.
"""

import base64
import hashlib
from functools import cache
from pathlib import Path
from typing import Any, Final

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup

from plumbline.reports.release.evidence import ReleaseEvidence
from plumbline.reports.release.measures import (
    campaign_rows,
    figures_of,
    guardrail_rows,
    length_rows,
    length_says,
    win_rows,
)
from plumbline.reports.release.sentences import (
    HEADLINES,
    changes,
    condition,
    digest_words,
    lead,
    listed,
    lowered,
    metric_name,
    metrics_shown,
    next_steps,
    omissions,
    raised,
    worse_slices,
)
from plumbline.reports.release.slices import gate_bar, metric_table
from plumbline.schema.eval_report import EVERYTHING
from plumbline.storage.home import DEFAULT_PROFILE
from plumbline.text.unsafe_characters import visible

TEMPLATES: Final = Path(__file__).resolve().parent / "templates"
MAX_CASES: Final = 60
"""Failure cases on the page; the rest is in the file of the evals."""
OPEN_CASES: Final = 8
"""Failure cases that stand open; the others are folded."""
MAX_TEXT: Final = 2_000
"""Characters of a prompt or a response that are shown."""
SIGNS: Final = {"pass": "✓", "fail": "✕", "inconclusive": "?", "error": "!"}
WORDS: Final = {
    "pass": "passes",
    "fail": "fails",
    "inconclusive": "undecided",
    "error": "no evidence",
}
SECTIONS: Final = (
    ("changes", "Changes"),
    ("gates", "Gates"),
    ("checks", "Checks"),
    ("cases", "Cases"),
    ("slices", "Slices"),
    ("optimization", "Optimization"),
    ("guardrail", "Guardrail"),
    ("sign", "Signatures"),
    ("provenance", "Provenance"),
)


def release_page(evidence: ReleaseEvidence) -> str:
    """The page as HTML; the same evidence gives the same bytes."""
    style, script = _asset("release.css"), _asset("release.js")
    return (
        _environment()
        .get_template("release.html")
        .render(
            **_summary(evidence),
            **_measures(evidence),
            evidence=evidence,
            default_profile=DEFAULT_PROFILE,
            decision=evidence.decision,
            report=evidence.report,
            open_cases=OPEN_CASES,
            sections=SECTIONS,
            signs=SIGNS,
            words=WORDS,
            style=style,
            script=script,
            style_hash=_hash(style),
            script_hash=_hash(script),
        )
    )


def _summary(evidence: ReleaseEvidence) -> dict[str, Any]:
    """The verdict, what changed, gates, checks, cases and slices."""
    decision, report, cases = evidence.decision, evidence.report, evidence.cases
    gated, others = metrics_shown(report, decision.gates)
    regressions = sum(case.kind == "regression" for case in cases)
    passed = [
        sum(one.verdict == "pass" for one in verdicts)
        for verdicts in (decision.gates, decision.checks)
    ]
    return {
        "headline": HEADLINES[decision.verdict],
        "lead": lead(decision),
        "steps": next_steps(decision),
        "facts": (
            ("Gates passed", passed[0], f"of {len(decision.gates)}"),
            ("Checks passed", passed[1], f"of {len(decision.checks)}"),
            ("Answers that got worse", regressions, ""),
            (
                "Held-out prompts",
                f"{report.prompts:,}",
                f"in {len(report.slices) - len(report.pooled)} slices",
            ),
        ),
        "changes": changes(report),
        "compared": max(
            (
                one.aligned.n + one.aligned.unscored
                for one in report.slices.get(EVERYTHING, {}).values()
            ),
            default=report.prompts,
        ),
        "worse": worse_slices(report),
        "corrected": any(
            one.p_adjusted is not None
            for metrics in report.slices.values()
            for one in metrics.values()
        ),
        "gates": _sorted(decision.gates),
        "checks": _sorted(decision.checks),
        "gated": [metric_table(report, metric) for metric in gated],
        "others": [metric_table(report, metric) for metric in others],
        "cases": cases[:MAX_CASES],
        "regressions": regressions,
        "to_read": 0 if evidence.signoff is None else min(evidence.signoff.samples, len(cases)),
    }


def _measures(evidence: ReleaseEvidence) -> dict[str, Any]:
    """Figures of the optimization, the guardrail and the red team, and what is missing from all of
    them."""
    report = evidence.report
    base = [
        name
        for name in report.slices
        if "." not in name and (name not in report.pooled or name == EVERYTHING)
    ]
    guardrail = evidence.guardrail
    return {
        "figures": figures_of(evidence),
        "lengths": length_rows(evidence.lengths, base) if evidence.lengths is not None else [],
        "length_says": length_says(evidence.lengths) if evidence.lengths is not None else "",
        "wins": win_rows(report),
        "guardrail": guardrail,
        "guardrail_rows": (
            guardrail_rows(guardrail) if guardrail is not None and not guardrail.missing else []
        ),
        "guardrail_slices": (
            guardrail_rows(guardrail, slices=True)
            if guardrail is not None and not guardrail.missing
            else []
        ),
        "campaigns": campaign_rows(evidence.campaigns),
        "omissions": omissions(report, evidence.accuracy is not None, len(evidence.campaigns)),
    }


def _sorted(verdicts: Any) -> list[Any]:
    """What does not pass comes first; the rest in the order of the profile."""
    order = ("fail", "error", "inconclusive", "pass")
    return sorted(verdicts, key=lambda one: order.index(one.verdict))


@cache
def _environment() -> Environment:
    def finalize(value: object) -> object:
        # every text that reaches the page shows its hidden characters; what this package drew is
        # markup already
        return value if isinstance(value, Markup) else visible(value)

    environment = Environment(
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        loader=FileSystemLoader(TEMPLATES),
        finalize=finalize,
    )
    environment.filters |= {
        "shortened": _shortened,
        "metric_name": metric_name,
        "listed": listed,
        "lowered": lowered,
        "raised": raised,
        "brief": digest_words,
        "condition": condition,
        "bar": gate_bar,
    }
    return environment


@cache
def _asset(name: str) -> Any:
    """A file of this package that goes into the page as it is."""
    return Markup((TEMPLATES / name).read_text(encoding="utf-8"))  # noqa: S704 (a file of this package, not text from outside)


def _shortened(text: str) -> str:
    return text if len(text) <= MAX_TEXT else f"{text[:MAX_TEXT]}… ({len(text):,} characters)"


def _hash(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
