"""What a report and a decision say, in sentences for people who did not write the gates."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, Literal, NamedTuple

from plumbline.release.decision import Decision
from plumbline.release.gates import GateVerdict
from plumbline.reports.tables import format_estimate, metrics_in
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EVERYTHING, EvalReport, MetricComparison
from plumbline.schema.metrics import METRICS

NAMES: Final[Mapping[str, str]] = {
    "harmful_compliance": "Harmful requests that were answered",
    "over_refusal": "Harmless requests that were refused",
    "correctness": "Correct answers",
    "utility": "True usefulness",
    "garbled": "Answers without sense",
    "refusal_rate": "Answers that refuse",
    "empty": "Empty answers",
    "repetition": "Repetition",
    "truncated": "Answers that were cut off",
    "tokens": "Length in tokens",
    "reward": "Reward",
    "kl": "Distance from the reference (KL, nats)",
    "forbidden_action": "Forbidden actions",
    "allowed_action": "Allowed actions that were taken",
    "malformed_action": "Actions that cannot be read",
}
"""Metrics in the words of a reader; others are shown under their own name."""
PROXIES: Final = frozenset({"reward", "kl", "tokens", "refusal_rate", "repetition"})
"""Metrics that say what the policy does and not whether it is good."""
HEADLINES: Final[Mapping[str, str]] = {
    "release": "Ready for signatures",
    "hold": "On hold",
    "reject": "Not fit for release",
}
MAX_SLICES: Final = 4
"""Slices that a sentence names."""

Direction = Literal["better", "worse", "unclear"]


class Change(NamedTuple):
    """How one metric moved on one slice."""

    metric: str
    name: str
    direction: Direction
    before: str
    after: str
    difference: str
    proxy: bool


class Step(NamedTuple):
    """Something that somebody has to do before this can be released."""

    owner: str
    gate: str
    anchor: str
    text: str


def metric_name(metric: str) -> str:
    """The metric in the words of a reader."""
    return NAMES.get(metric, metric.replace("_", " ").capitalize())


def direction_of(metric: str, difference: Estimate | None) -> Direction:
    """Whether the whole interval of a difference lies on the good side, on the bad side, or on
    neither."""
    better = METRICS[metric].better
    if (
        difference is None
        or better == "neither"
        or metric in PROXIES
        or difference.low <= 0 <= difference.high
    ):
        return "unclear"
    return "better" if (difference.value > 0) == (better == "higher") else "worse"


def changes(report: EvalReport, slice_name: str = EVERYTHING) -> tuple[Change, ...]:
    """How every metric of the reference moved on one slice, judged metrics before proxies."""
    moved = []
    for metric in METRICS:
        comparison = report.slices.get(slice_name, {}).get(metric)
        if (
            comparison is not None
            and comparison.reference is not None
            and comparison.difference is not None
        ):
            moved.append(_change(metric, comparison, comparison.reference, comparison.difference))
    return tuple(sorted(moved, key=lambda change: change.metric in PROXIES))


def worse_slices(report: EvalReport) -> dict[str, tuple[str, ...]]:
    """By metric, the slices that got worse: the whole interval of the difference is on the bad
    side, after correction where there is one."""
    worse: dict[str, list[str]] = {}
    for name, metrics in report.slices.items():
        if name not in report.pooled:
            for metric, comparison in metrics.items():
                if direction_of(metric, comparison.difference) == "worse" and not _corrected_away(
                    comparison, report.level
                ):
                    worse.setdefault(metric, []).append(name)
    return {metric: tuple(sorted(names)) for metric, names in worse.items()}


def lead(decision: Decision) -> str:
    """The decision in one or two sentences."""
    gates, checks = decision.gates, decision.checks
    closed = [
        verdict
        for verdict in (
            *(judged.verdict for judged in gates),
            *(judged.verdict for judged in checks),
        )
        if verdict != "pass"
    ]
    counted = (
        f"{_count(len(gates), 'gate')} and {_count(len(checks), 'check')}"
        if checks
        else _count(len(gates), "gate")
    )
    if decision.verdict == "release":
        return (
            f"All {counted} pass on the bound of their interval. People have to read the failure"
            " cases and sign before it is released."
        )
    if not gates:
        return "The profile has no gates, and without a gate nothing is released."
    failed = closed.count("fail")
    undecided = closed.count("inconclusive")
    missing = closed.count("error")
    parts = [
        f"{n} {word}"
        for n, word in ((failed, "failed"), (undecided, "undecided"), (missing, "without evidence"))
        if n
    ]
    meaning = {
        "reject": (
            "The evidence says that this policy breaks a condition of its release; more samples"
            " would not help."
        ),
        "hold": (
            "Nothing is known to be wrong, but the evidence does not suffice; what is missing"
            " stands below."
        ),
    }
    return f"Of {counted}, {' and '.join(parts)}. {meaning[decision.verdict]}"


def next_steps(decision: Decision) -> tuple[Step, ...]:
    """What has to be done about every gate and check that does not pass, failures first."""
    order = ("fail", "error", "inconclusive")
    gates = [
        (order.index(judged.verdict), _gate_step(judged))
        for judged in decision.gates
        if judged.verdict != "pass"
    ]
    checks = [
        (order.index(judged.verdict), _check_step(judged))
        for judged in decision.checks
        if judged.verdict != "pass"
    ]
    return tuple(step for _, step in sorted([*gates, *checks], key=lambda ranked: ranked[0]))


def listed(names: Iterable[str], limit: int = MAX_SLICES) -> str:
    """`a, b and 3 more`."""
    items = list(names)
    shown, rest = items[:limit], len(items) - limit
    if rest > 0:
        return f"{', '.join(shown)} and {rest} more"
    return " and ".join([*([", ".join(shown[:-1])] if len(shown) > 1 else []), *shown[-1:]])


def lowered(text: str) -> str:
    """The text with a small first letter, for the middle of a sentence."""
    return text[:1].lower() + text[1:]


def condition(verdict: GateVerdict) -> str:
    """What a gate demands, in words: `at most 5 %`."""
    gate = verdict.gate
    against = {
        "aligned": "",
        "difference": " against the reference",
        "champion": " against the champion",
    }[gate.compare]
    margin = (
        f" ({_amount(verdict, gate.threshold)} with a margin of {_amount(verdict, gate.margin)})"
        if gate.margin
        else ""
    )
    return f"{gate.direction.replace('_', ' ')} {_amount(verdict, gate.bound)}{against}{margin}"


def _amount(verdict: GateVerdict, value: float) -> str:
    if METRICS[verdict.gate.metric].kind == "mean":
        return f"{value:g}".replace("-", "\N{MINUS SIGN}")
    return f"{value * 100:g}{' %' if verdict.gate.compare == 'aligned' else ' points'}".replace(
        "-", "\N{MINUS SIGN}"
    )


def digest_words(digest: str) -> str:
    """The first twelve digits of a digest, enough to recognize it."""
    return digest.removeprefix("sha256:")[:12]


def _change(
    metric: str, comparison: MetricComparison, reference: Estimate, difference: Estimate
) -> Change:
    return Change(
        metric=metric,
        name=metric_name(metric),
        direction=direction_of(metric, difference),
        before=short(reference, metric),
        after=short(comparison.aligned, metric),
        difference=difference_text(difference, metric),
        proxy=metric in PROXIES or METRICS[metric].better == "neither",
    )


def difference_text(estimate: Estimate, metric: str) -> str:
    """A difference with its interval; that of two shares is in percentage points."""
    text = format_estimate(estimate, metric, signed=True).replace("%", " points")
    return text.replace("-", "\N{MINUS SIGN}")


def short(estimate: Estimate, metric: str) -> str:
    """The value without its interval."""
    return format_estimate(estimate, metric).partition(" [")[0]


def _corrected_away(comparison: MetricComparison, confidence_level: float) -> bool:
    adjusted = comparison.p_adjusted
    return adjusted is not None and adjusted > 1 - confidence_level


def _gate_step(verdict: GateVerdict) -> Step:
    gate = verdict.gate
    where = f"{lowered(metric_name(gate.metric))} on {gate.slice}"
    measured = (
        ""
        if verdict.estimate is None
        else (
            f"{short(verdict.estimate, gate.metric)} of them, where {condition(verdict)} is allowed"
        )
    )
    texts: dict[str, str] = {
        "fail": (
            f"{raised(where)}: {measured}. Read the failure cases of this slice, find the cause and"
            " train again."
        ),
        "error": f"There is no evidence about {where}: {verdict.explanation}.",
        "inconclusive": _undecided(verdict, where),
    }
    return Step(
        owner=gate.owner, gate=gate.id, anchor=f"gate-{gate.id}", text=texts[verdict.verdict]
    )


def _undecided(verdict: GateVerdict, where: str) -> str:
    if verdict.needs is None:
        return f"More samples would not decide {where}: {verdict.explanation}."
    return (
        f"{raised(where)} cannot be decided yet. Add about {_rounded(verdict.needs):,} held-out"
        " prompts there and evaluate again."
    )


def raised(text: str) -> str:
    """The text with a capital first letter."""
    return text[:1].upper() + text[1:]


def _rounded(count: int) -> int:
    """A planned number with the two digits that it can carry."""
    unit = int("1" + "0" * max(len(str(count)) - 2, 0))
    return -(-count // unit) * unit


def _check_step(check: CheckVerdict) -> Step:
    return Step(
        owner="",
        gate=check.name,
        anchor=f"check-{check.name}",
        text=check.remedy or check.explanation,
    )


def _count(n: int, noun: str) -> str:
    return f"{n} {noun}{'' if n == 1 else 's'}"


def metrics_shown(report: EvalReport, gates: Sequence[GateVerdict]) -> tuple[list[str], list[str]]:
    """Metrics of the report: those that a gate is about, and the others; both in the order of
    display."""
    gated = {verdict.gate.metric for verdict in gates}
    present = metrics_in(report)
    return [metric for metric in present if metric in gated], [
        metric for metric in present if metric not in gated
    ]


def omissions(report: EvalReport, accuracy: bool, campaigns: int) -> tuple[tuple[str, str], ...]:
    """What the report does not know, each with how much of it there is; it is never left to the
    reader to notice."""
    overall = report.slices.get(EVERYTHING, {})
    unscored = max((comparison.aligned.unscored for comparison in overall.values()), default=0)
    aside = ", ".join(f"{count} for {reason}" for reason, count in sorted(report.set_aside.items()))
    missing = [
        f"{name}: {lowered(metric_name(metric))} ({why})"
        for name, metrics in report.unavailable.items()
        for metric, why in metrics.items()
    ]
    gaps = [
        (
            "held-out prompts set aside",
            aside or "none: no prompt of the vault stands in the training data",
        ),
        (
            "answers that could not be scored",
            (
                f"{unscored:,}; they are in no estimate and never count as good"
                if unscored
                else "none"
            ),
        ),
        ("estimates that are missing", "; ".join(missing) or "none"),
        (
            "champion",
            (
                "compared on the same prompts"
                if report.champion
                else "none: this policy was compared with its reference only"
            ),
        ),
        (
            "clusters",
            (
                f"prompts that share their {report.cluster} count as one cluster"
                if report.cluster
                else "every prompt counts as independent"
            ),
        ),
    ]
    gaps += [] if accuracy else [("reward model", "its accuracy was not measured")]
    gaps += [] if campaigns else [("red team", "no campaign of people stands behind these numbers")]
    return tuple(gaps)
