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
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import TypeVar

from plumbline.errors import DataError
from plumbline.evaluation.comparisons import SliceComparison, compare_slices
from plumbline.evaluation.scorers import Scorer, scorer_of
from plumbline.evaluation.scoring import (
    Pair,
    ScoredSample,
    count_labels,
    pairs_by_slice,
    score_samples,
)
from plumbline.records import sha256
from plumbline.schema.conversations import Decoder
from plumbline.schema.eval_report import EVERYTHING, EvalReport
from plumbline.schema.held_out import EvalPrompt, Sample
from plumbline.schema.metrics import ScorerName

Value = TypeVar("Value")


def build_report(
    prompts: Sequence[EvalPrompt],
    samples: Sequence[Sample],
    scorer: ScorerName,
    confidence_level: float,
    seed: int,
    decoder: Decoder,
    *,
    cluster: str | None = None,
    champion: str | None = None,
    set_aside: Mapping[str, str] | None = None,
    score: Scorer | None = None,
) -> tuple[EvalReport, list[ScoredSample]]:
    """Score the samples and estimate every metric; returns the report, and all scored samples in
    the order of the samples, those that are set aside included.

    Args:
        prompts: The held-out prompts.
        samples: One sample of each policy for each prompt.
        scorer: Name of the scorer.
        confidence_level: Two-sided confidence level of every interval.
        seed: Seed of the bootstrap tests.
        decoder: How the samples were drawn; recorded.
        cluster: Fact of a prompt that names what it is about; prompts that share it are not
            independent.
        champion: Digest of the released champion, sampled or not, when that is another policy.
        set_aside: Prompt id to the reason why its samples leave every estimate.
        score: The scorer itself, where it is not found by its name alone.

    Raises:
        DataError: If prompts and samples do not belong to each other, or no prompts are left.
    """
    scored = score_samples(
        prompts,
        samples,
        score or scorer_of(scorer),
        cluster=cluster,
        champion=champion,
        set_aside=set_aside,
    )
    groups, pooled, repeating = _groups(prompts, scored)
    compared = compare_slices(groups, confidence_level, seed, repeating)
    report = EvalReport(
        scorer=scorer,
        level=confidence_level,
        seed=seed,
        decoder=decoder,
        samples=sha256(b"".join(sample.to_json() for sample in samples)),
        prompts=len(prompts),
        champion=champion,
        cluster=cluster,
        set_aside=dict(sorted(Counter((set_aside or {}).values()).items())),
        slices={name: measured.comparisons for name, measured in compared.items()},
        pooled=pooled,
        labels=count_labels(scored, pooled),
        unavailable=_filled(compared, lambda measured: measured.missing),
        correlations=_filled(compared, lambda measured: measured.correlations),
        win_rates=_filled(compared, lambda measured: measured.win_rates),
    )
    return report, scored


def _filled(
    compared: Mapping[str, SliceComparison], part: Callable[[SliceComparison], dict[str, Value]]
) -> dict[str, dict[str, Value]]:
    """One part of the comparisons by slice, without the slices that have nothing there."""
    return {name: values for name, slice_ in compared.items() if (values := part(slice_))}


def _groups(
    prompts: Sequence[EvalPrompt], scored: Sequence[ScoredSample]
) -> tuple[dict[str, list[Pair]], dict[str, tuple[str, ...]], set[str]]:
    """What was measured by slice, pooled slices included; the members of the pooled ones; and the
    slices that repeat prompts of others in other words."""
    slices = pairs_by_slice(scored)
    if not slices:
        raise DataError(
            f"all {len(prompts)} held-out prompts are set aside, so nothing can be measured; renew"
            " the vault"
        )
    variants = {prompt.context.slice for prompt in prompts if "variant_of" in prompt.facts}
    pooled = _pools(slices, variants)
    groups = slices | {
        name: [pair for member in members for pair in slices[member]]
        for name, members in pooled.items()
    }
    repeating = variants | {
        name for name, members in pooled.items() if variants.issuperset(members)
    }
    return dict(sorted(groups.items())), pooled, repeating


def _pools(names: Iterable[str], variants: Collection[str]) -> dict[str, tuple[str, ...]]:
    """Pooled slices with their members, sorted."""
    own = sorted(names)
    pools: dict[str, list[str]] = {}
    for name in own:
        base, dot, variant = name.rpartition(".") if name in variants else (name, "", "")
        stem, dash, _ = base.rpartition("-")
        if dash:
            pools.setdefault(f"{stem}{dot}{variant}", []).append(name)
    pooled = {stem: tuple(members) for stem, members in pools.items() if len(members) > 1}
    # where there are only variants they are everything
    pooled[EVERYTHING] = tuple(name for name in own if name not in variants) or tuple(own)
    return {stem: members for stem, members in pooled.items() if stem not in own}
