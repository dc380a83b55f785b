"""The eval report: reference against aligned on every slice, each number an estimate.

Every policy answers every held-out prompt once, so differences are paired by prompt. Slices whose
names differ only in the part after the last `-` are pooled (`harm-en` and `harm-es` into `harm`)
unless a slice has that name already; `all` pools everything but variants. The slices of a variant
repeat prompts in other words, so they pool among themselves alone: `harm-en.polite` and
`harm-es.polite` into `harm.polite`.

Prompts that are set aside, because the training data repeat them, are in no estimate; they are
counted by reason.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, Final

from plumbline.errors import DataError
from plumbline.evaluation.comparisons import compare_slices
from plumbline.evaluation.scorers import Scorer, scorer_of
from plumbline.evaluation.scoring import ScoredSample, count_labels, pairs_by_slice, score_samples
from plumbline.records import sha256
from plumbline.schema.conversations import Decoder
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.metrics import METRICS, ScorerName
from plumbline.schema.prompts import EvalPrompt
from plumbline.schema.samples import Sample

EVERYTHING: Final = "all"


def build_report(
    prompts: Sequence[EvalPrompt],
    samples: Sequence[Sample],
    scorer: ScorerName,
    level: float,
    seed: int,
    decoder: Decoder,
    *,
    cluster: str | None = None,
    champion: str | None = None,
    set_aside: Mapping[str, str] | None = None,
    score: Scorer | None = None,
) -> tuple[EvalReport, list[ScoredSample]]:
    """Score the samples and estimate every metric.

    Args:
        prompts: The held-out prompts.
        samples: One sample of each policy for each prompt.
        scorer: Name of the scorer.
        level: Two-sided confidence level of every interval.
        seed: Seed of the bootstrap tests.
        decoder: How the samples were drawn; recorded.
        cluster: Fact of a prompt that names what it is about; prompts that share it are not
            independent.
        champion: Digest of the released champion when that is another policy, also when it could
            not be sampled; None when there is none.
        set_aside: Prompt id to the reason why its samples leave every estimate.
        score: The scorer itself, where it is not found by its name alone.

    Returns:
        The report, and all scored samples in the order of the samples, those that are set aside
        included.

    Raises:
        DataError: If a prompt has no sample of a policy or several, or a sample belongs to no
            prompt; or if no prompts are left.
    """
    scored = score_samples(
        prompts,
        samples,
        score or scorer_of(scorer),
        cluster=cluster,
        champion=champion,
        set_aside=set_aside,
    )
    by_slice = pairs_by_slice(scored)
    if not by_slice:
        raise DataError(
            f"all {len(prompts)} held-out prompts are set aside, so nothing can be measured; renew"
            " the vault"
        )
    variants = {prompt.context.slice for prompt in prompts if "variant_of" in prompt.facts}
    pooled = _pools(by_slice, variants)
    groups = by_slice | {
        name: [pair for member in members for pair in by_slice[member]]
        for name, members in pooled.items()
    }
    repeating = variants | {
        name for name, members in pooled.items() if variants.issuperset(members)
    }
    compared = compare_slices(dict(sorted(groups.items())), level, seed, repeating)
    report = EvalReport(
        scorer=scorer,
        level=level,
        seed=seed,
        decoder=decoder,
        samples=sha256(b"".join(sample.to_json() for sample in samples)),
        prompts=len(prompts),
        champion=champion,
        cluster=cluster,
        set_aside=dict(sorted(Counter((set_aside or {}).values()).items())),
        slices={name: one.comparisons for name, one in compared.items()},
        pooled=pooled,
        labels=count_labels(scored, pooled),
        unavailable={name: one.missing for name, one in compared.items() if one.missing},
        correlations={name: one.correlations for name, one in compared.items() if one.correlations},
        win_rates={name: one.win_rates for name, one in compared.items() if one.win_rates},
    )
    return report, scored


def slice_rows(report: EvalReport) -> list[dict[str, Any]]:
    """One flat row for each slice and metric: `all` first, then the other pooled slices, then the
    rest."""
    rows = []
    for name in _order(report):
        for metric in (metric for metric in METRICS if metric in report.slices[name]):
            comparison = report.slices[name][metric]
            row: dict[str, Any] = {"slice": name, "pooled": name in report.pooled, "metric": metric}
            for side in ("reference", "aligned", "difference", "champion", "against_champion"):
                estimate: Estimate | None = getattr(comparison, side)
                row |= {
                    side: estimate and estimate.value,
                    f"{side}_low": estimate and estimate.low,
                    f"{side}_high": estimate and estimate.high,
                }
            counts = {
                "n": comparison.aligned.n,
                "clusters": comparison.aligned.clusters,
                "unscored": comparison.aligned.unscored,
            }
            rows.append(row | counts | {"p": comparison.p, "p_adjusted": comparison.p_adjusted})
    return rows


def to_markdown(report: EvalReport, limit: int | None = None) -> str:
    """The report for people.

    Args:
        report: The report.
        limit: Null gives every slice and metric. A number gives one table of all prompts together
            and the worst slice of each metric, in at most this many characters.
    """
    return _full(report) if limit is None else _brief(report, limit)


def format_estimate(estimate: Estimate, metric: str, *, signed: bool = False) -> str:
    """`4.7% [2.8, 7.7]` for proportions, `1.02 [0.98, 1.06]` for means; differences of proportions
    are percentage points."""
    factor, unit = (100, "%") if METRICS[metric].kind == "proportion" else (1, "")
    digits = 1 if factor == 100 or abs(estimate.value) >= 10 else 2
    numbers = (
        round(number * factor, digits) + 0.0
        for number in (estimate.value, estimate.low, estimate.high)
    )  # + 0.0: no "-0.0"
    value, low, high = (f"{number:{'+' if signed else ''}.{digits}f}" for number in numbers)
    return f"{value}{unit} [{low}, {high}]"


def _pools(names: Iterable[str], variants: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Pooled slices with their members, sorted."""
    own = sorted(names)
    pools: dict[str, list[str]] = {}
    for name in own:
        base, dot, variant = name.rpartition(".") if name in variants else (name, "", "")
        stem, dash, _ = base.rpartition("-")
        if dash:
            pools.setdefault(f"{stem}{dot}{variant}", []).append(name)
    found = {stem: tuple(members) for stem, members in pools.items() if len(members) > 1}
    # where there are only variants they are everything
    found[EVERYTHING] = tuple(name for name in own if name not in variants) or tuple(own)
    return {stem: members for stem, members in found.items() if stem not in own}


def _full(report: EvalReport) -> str:
    parts = [
        f"Scorer `{report.scorer}`, {report.prompts} held-out prompts, one response of each policy"
        f" to each; {report.level:.0%} intervals in brackets; temperature"
        f" {report.decoder.temperature:g}, top_p {report.decoder.top_p:g}, at most"
        f" {report.decoder.max_new_tokens} tokens. p: aligned and reference are alike, corrected"
        " for the slices of the metric by Holm's method."
    ]
    if report.cluster is not None:
        parts.append(
            f"Prompts with the same `{report.cluster}` are one cluster: they count for what they"
            " are worth."
        )
    if report.set_aside:
        reasons = ", ".join(f"{count} {reason}" for reason, count in report.set_aside.items())
        parts.append(
            f"{sum(report.set_aside.values())} prompts are in no estimate, because the training"
            f" data repeat them: {reasons}."
        )
    compared = () if report.champion is None else ("champion", "aligned - champion")
    for metric, facts in METRICS.items():
        rows = [
            (name, report.slices[name][metric])
            for name in _order(report)
            if metric in report.slices[name]
        ]
        if rows:
            lines = [
                f"### {metric}",
                (
                    f"{facts.meaning}{'' if facts.better == 'neither' else f'; {facts.better} is better'}."
                ),
                "",
            ]
            columns = (
                "slice",
                "reference",
                "aligned",
                "difference",
                *compared,
                "p",
                "n",
                "unscored",
            )
            lines += [f"| {' | '.join(columns)} |", "|---" * len(columns) + "|"]
            for name, one in rows:
                texts = [
                    name,
                    _text(one.reference, metric),
                    _text(one.aligned, metric),
                    _text(one.difference, metric, signed=True),
                ]
                texts += (
                    [_text(one.champion, metric), _text(one.against_champion, metric, signed=True)]
                    if compared
                    else []
                )
                texts += [
                    "–" if one.p_adjusted is None else f"{one.p_adjusted:.2g}",
                    str(one.aligned.n),
                    str(one.aligned.unscored),
                ]
                lines.append(f"| {' | '.join(texts)} |")
            parts.append("\n".join(lines))
    if report.unavailable:
        gaps = [
            f"- {name}, {metric}: {why}"
            for name, missing in report.unavailable.items()
            for metric, why in missing.items()
        ]
        parts.append("\n".join(["### Without an estimate", *gaps]))
    return "\n\n".join(parts)


def _brief(report: EvalReport, limit: int) -> str:
    lines = ["| metric | reference | aligned | worst slice |", "|---|---|---|---|"]
    # where a slice of its own is called `all`, it is that slice that is shown
    overall = report.slices[EVERYTHING]
    shown = [metric for metric in METRICS if metric in overall]
    for position, metric in enumerate(shown):
        line = (
            f"| {metric} | {_text(overall[metric].reference, metric)} |"
            f" {_text(overall[metric].aligned, metric)} | {_worst(report, metric)} |"
        )
        left_out = f"\n\n{len(shown) - position} more metrics are in the full table."
        if len("\n".join([*lines, line])) + len(left_out) > limit:
            return "\n".join(lines) + left_out
        lines.append(line)
    return "\n".join(lines)


def _text(estimate: Estimate | None, metric: str, *, signed: bool = False) -> str:
    return "–" if estimate is None else format_estimate(estimate, metric, signed=signed)


def _order(report: EvalReport) -> list[str]:
    return sorted(
        report.slices, key=lambda name: (name != EVERYTHING, name not in report.pooled, name)
    )


def _worst(report: EvalReport, metric: str) -> str:
    better = METRICS[metric].better
    own = {
        name: values[metric].aligned.value
        for name, values in report.slices.items()
        if name not in report.pooled and metric in values
    }
    if better == "neither" or len(set(own.values())) < 2:
        return "–"
    name = (max if better == "lower" else min)(own, key=own.__getitem__)
    return (
        f"{name} {own[name]:.1%}"
        if METRICS[metric].kind == "proportion"
        else f"{name} {own[name]:.2f}"
    )
