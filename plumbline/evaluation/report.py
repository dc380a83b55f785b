"""The eval report: reference against aligned on every slice, each number an estimate.

Both policies answer every held-out prompt once, so differences are paired by prompt. Slices whose names differ only in the part after the
last `-` are pooled (`harm-en` and `harm-es` into `harm`) unless a slice has that name already; `all` pools everything.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from pydantic import Field

from plumbline.data.schema import Decoder, EvalPrompt, Identifier
from plumbline.errors import InsufficientEvidence
from plumbline.evaluation.measurements import Pair, ScoredSample, count_labels, pairs_by_slice, score_samples
from plumbline.evaluation.metrics import METRICS
from plumbline.evaluation.samples import Policy, Sample
from plumbline.evaluation.scorers import ScorerName, scorer_of
from plumbline.evaluation.statistics import Estimate, Number, is_outcomes, mean, paired_difference, proportion
from plumbline.records import Record, sha256

EVERYTHING: Final = "all"


class Comparison(Record):
    """One metric on one slice."""

    reference: Estimate | None = Field(description="null where the metric does not exist for the reference, or could not be estimated")
    aligned: Estimate
    difference: Estimate | None = Field(description="aligned minus reference on the same prompts; null where the reference is")


class EvalReport(Record):
    """Every metric of both policies on every slice."""

    scorer: ScorerName
    level: float = Field(description="two-sided confidence level of every interval")
    seed: int = Field(description="seed of the profile, for methods that draw; none of today's does")
    decoder: Decoder
    samples: str = Field(description="digest of the samples as canonical JSONL, in the order in which they came")
    prompts: int = Field(description="held-out prompts; each has one sample of each policy")
    slices: dict[Identifier, dict[Identifier, Comparison]] = Field(description="slice to metric to comparison, pooled slices included")
    pooled: dict[Identifier, tuple[Identifier, ...]] = Field(description="pooled slice to the slices in it")
    labels: dict[Identifier, dict[Policy, dict[str, int]]] = Field(description="how often the scorer gave each label, by slice and policy")
    unavailable: dict[Identifier, dict[Identifier, str]] = Field(description="metrics that apply to a slice and have no estimate, with the reason")


def build_report(
    prompts: Sequence[EvalPrompt], samples: Sequence[Sample], scorer: ScorerName, level: float, seed: int, decoder: Decoder
) -> tuple[EvalReport, list[ScoredSample]]:
    """Score the samples and estimate every metric.

    Args:
        prompts: The held-out prompts.
        samples: One sample of each policy for each prompt.
        scorer: Name of the scorer.
        level: Two-sided confidence level of every interval.
        seed: Recorded; today's methods draw nothing.
        decoder: How the samples were drawn; recorded.

    Returns:
        The report, and the scored samples in the order of the samples.

    Raises:
        DataError: If a prompt has no sample of a policy or several, or a sample belongs to no prompt; or if there are no prompts.
    """
    scored = score_samples(prompts, samples, scorer_of(scorer))
    by_slice = pairs_by_slice(scored)
    pooled = _pools(by_slice)
    groups = by_slice | {name: [pair for member in members for pair in by_slice[member]] for name, members in pooled.items()}
    compared = {name: _compare_all(pairs, level) for name, pairs in sorted(groups.items())}
    report = EvalReport(
        scorer=scorer,
        level=level,
        seed=seed,
        decoder=decoder,
        samples=sha256(b"".join(sample.to_json() for sample in samples)),
        prompts=len(prompts),
        slices={name: comparisons for name, (comparisons, _) in compared.items()},
        pooled=pooled,
        labels=count_labels(scored, pooled),
        unavailable={name: missing for name, (_, missing) in compared.items() if missing},
    )
    return report, scored


def slice_rows(report: EvalReport) -> list[dict[str, Any]]:
    """One flat row for each slice and metric: `all` first, then the other pooled slices, then the rest."""
    rows = []
    for name in _order(report):
        for metric in (metric for metric in METRICS if metric in report.slices[name]):
            comparison = report.slices[name][metric]
            row: dict[str, Any] = {"slice": name, "pooled": name in report.pooled, "metric": metric}
            for side in ("reference", "aligned", "difference"):
                estimate: Estimate | None = getattr(comparison, side)
                row |= {side: estimate and estimate.value, f"{side}_low": estimate and estimate.low, f"{side}_high": estimate and estimate.high}
            rows.append(row | {"n": comparison.aligned.n, "unscored": comparison.aligned.unscored})
    return rows


def to_markdown(report: EvalReport, limit: int | None = None) -> str:
    """The report for people.

    Args:
        report: The report.
        limit: Null gives every slice and metric. A number gives one table of all prompts together and the worst slice of each metric,
            in at most this many characters.
    """
    return _full(report) if limit is None else _brief(report, limit)


def format_estimate(estimate: Estimate, metric: str, *, signed: bool = False) -> str:
    """`4.7% [2.8, 7.7]` for proportions, `1.02 [0.98, 1.06]` for means; differences of proportions are percentage points."""
    factor, unit = (100, "%") if METRICS[metric].kind == "proportion" else (1, "")
    digits = 1 if factor == 100 or abs(estimate.value) >= 10 else 2
    numbers = (round(number * factor, digits) + 0.0 for number in (estimate.value, estimate.low, estimate.high))  # + 0.0: no "-0.0"
    value, low, high = (f"{number:{'+' if signed else ''}.{digits}f}" for number in numbers)
    return f"{value}{unit} [{low}, {high}]"


def _pools(names: Iterable[str]) -> dict[str, tuple[str, ...]]:
    """Pooled slices with their members, sorted."""
    own = sorted(names)
    pools: dict[str, list[str]] = {}
    for name in own:
        stem, dash, _ = name.rpartition("-")
        if dash:
            pools.setdefault(stem, []).append(name)
    found = {stem: tuple(members) for stem, members in pools.items() if len(members) > 1} | {EVERYTHING: tuple(own)}
    return {stem: members for stem, members in found.items() if stem not in own}


def _compare_all(pairs: Sequence[Pair], level: float) -> tuple[dict[str, Comparison], dict[str, str]]:
    """Comparisons by metric, and the reasons why others are missing."""
    comparisons: dict[str, Comparison] = {}
    missing: dict[str, str] = {}
    for name in METRICS:
        aligned = [pair.aligned[name] for pair in pairs if name in pair.aligned]
        if aligned:
            try:
                comparisons[name] = _compare(name, pairs, aligned, level)
            except InsufficientEvidence as error:
                missing[name] = str(error)
    return comparisons, missing


def _compare(name: str, pairs: Sequence[Pair], aligned: Sequence[Number], level: float) -> Comparison:
    reference = [pair.reference[name] for pair in pairs if name in pair.reference]
    both = [pair for pair in pairs if name in pair.reference and name in pair.aligned]
    return Comparison(
        aligned=_estimate(name, aligned, level),
        reference=_or_none(lambda: _estimate(name, reference, level)),
        difference=_or_none(lambda: paired_difference([pair.aligned[name] for pair in both], [pair.reference[name] for pair in both], level)),
    )


def _estimate(name: str, values: Sequence[Number], level: float) -> Estimate:
    if METRICS[name].kind == "mean":
        return mean(values, level)
    assert is_outcomes(values), f"'{name}' is a proportion of booleans"
    return proportion(values, level)


def _or_none(estimate: Callable[[], Estimate]) -> Estimate | None:
    """None stands for too little evidence; a gate on it is an error, which holds the release."""
    try:
        return estimate()
    except InsufficientEvidence:
        return None


def _full(report: EvalReport) -> str:
    parts = [
        f"Scorer `{report.scorer}`, {report.prompts} held-out prompts, one response of each policy to each; {report.level:.0%} intervals in brackets; "
        f"temperature {report.decoder.temperature:g}, top_p {report.decoder.top_p:g}, at most {report.decoder.max_new_tokens} tokens."
    ]
    for metric, facts in METRICS.items():
        rows = [(name, report.slices[name][metric]) for name in _order(report) if metric in report.slices[name]]
        if rows:
            lines = [f"### {metric}", f"{facts.meaning}{'' if facts.better == 'neither' else f'; {facts.better} is better'}.", ""]
            lines += ["| slice | reference | aligned | difference | n | unscored |", "|---|---|---|---|---|---|"]
            for name, one in rows:
                texts = [name, _text(one.reference, metric), _text(one.aligned, metric), _text(one.difference, metric, signed=True)]
                lines.append(f"| {' | '.join(texts)} | {one.aligned.n} | {one.aligned.unscored} |")
            parts.append("\n".join(lines))
    if report.unavailable:
        reasons = [f"- {name}, {metric}: {why}" for name, missing in report.unavailable.items() for metric, why in missing.items()]
        parts.append("\n".join(["### Without an estimate", *reasons]))
    return "\n\n".join(parts)


def _brief(report: EvalReport, limit: int) -> str:
    lines = ["| metric | reference | aligned | worst slice |", "|---|---|---|---|"]
    # where a slice of its own is called `all`, it is that slice that is shown
    overall = report.slices[EVERYTHING]
    shown = [metric for metric in METRICS if metric in overall]
    for position, metric in enumerate(shown):
        line = f"| {metric} | {_text(overall[metric].reference, metric)} | {_text(overall[metric].aligned, metric)} | {_worst(report, metric)} |"
        left_out = f"\n\n{len(shown) - position} more metrics are in the full table."
        if len("\n".join([*lines, line])) + len(left_out) > limit:
            return "\n".join(lines) + left_out
        lines.append(line)
    return "\n".join(lines)


def _text(estimate: Estimate | None, metric: str, *, signed: bool = False) -> str:
    return "–" if estimate is None else format_estimate(estimate, metric, signed=signed)


def _order(report: EvalReport) -> list[str]:
    return sorted(report.slices, key=lambda name: (name != EVERYTHING, name not in report.pooled, name))


def _worst(report: EvalReport, metric: str) -> str:
    better = METRICS[metric].better
    own = {name: values[metric].aligned.value for name, values in report.slices.items() if name not in report.pooled and metric in values}
    if better == "neither" or len(set(own.values())) < 2:
        return "–"
    name = (max if better == "lower" else min)(own, key=own.__getitem__)
    return f"{name} {own[name]:.1%}" if METRICS[metric].kind == "proportion" else f"{name} {own[name]:.2f}"
