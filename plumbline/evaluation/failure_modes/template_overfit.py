"""Template overfit: answers that are right in the wording, language or template that was trained
on, and wrong in another one."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from plumbline.evaluation.paired_answers import WANTED, PairedAnswers, base_only, by_slice
from plumbline.evaluation.quality import is_right
from plumbline.evaluation.vault.suites import tags
from plumbline.schema.estimates import Estimate
from plumbline.schema.held_out import Policy
from plumbline.statistics.clusters import intracluster_correlation
from plumbline.statistics.intervals import mean, paired_difference, proportion
from plumbline.statistics.verdicts import (
    CheckPart,
    corrected,
    estimated,
    exceeds,
    known,
    share_text,
)

OWN_TEMPLATE: Final = "own"
FEWEST: Final = 10
"""Things asked about on both sides, and wrong answers, below which a mean over them has no
trustworthy t interval."""


def wording_parts(
    answers: Sequence[PairedAnswers], gap: float, confidence_level: float
) -> tuple[list[CheckPart], list[CheckPart]]:
    """Reworded prompts against the prompts that they reword, on the same policy: the groups that
    have to pass, and the slices that are searched.

    Args:
        answers: Answers to all prompts of the vault.
        gap: How much larger the share of wrong answers may be in another wording.
        confidence_level: Two-sided confidence level.
    """
    originals = {answer.prompt.id: answer for answer in answers}
    reworded = [answer for answer in answers if answer.prompt.facts.get("variant_of") in originals]
    if not reworded:
        return [
            CheckPart(
                None, "no prompt of the vault is worded anew, so one wording is all that was tested"
            )
        ], []
    groups: dict[str, list[PairedAnswers]] = {}
    for answer in reworded:
        groups.setdefault(
            f"{answer.prompt.facts.get('variant', 'reworded')} prompts"
            f" {WANTED[answer.prompt.expected]}",
            [],
        ).append(answer)
    slices = by_slice(reworded)
    parts = [
        _against_originals(name, members, originals, gap, confidence_level)
        for name, members in sorted(groups.items())
    ]
    searched = [
        _against_originals(
            f"slice {name}", members, originals, gap, corrected(confidence_level, len(slices))
        )
        for name, members in slices.items()
    ]
    return parts, searched


def invariance_parts(
    answers: Sequence[PairedAnswers],
    training_locales: Mapping[str, int],
    gap: float,
    confidence_level: float,
) -> list[CheckPart]:
    """Other languages against the one that most training pairs are in, and other templates against
    plain prompts; all of them have to pass.

    Args:
        answers: Answers to all prompts of the vault; reworded ones are passed over.
        training_locales: Training pairs by locale.
        gap: How much larger the share of wrong answers may be.
        confidence_level: Two-sided confidence level.
    """
    most = max(sorted(training_locales), key=lambda locale: training_locales[locale], default=None)
    parts = []
    for respect, usual in (("language", most), ("template", OWN_TEMPLATE)):
        groups: dict[tuple[str, str], list[PairedAnswers]] = {}
        for answer in base_only(answers):
            value = next(
                tag.partition(":")[2]
                for tag in tags(answer.prompt)
                if tag.startswith(f"{respect}:")
            )
            groups.setdefault((answer.prompt.expected, value), []).append(answer)
        for (expected, value), members in sorted(groups.items()):
            usual_members = groups.get((expected, str(usual)))
            if value != usual and usual_members:
                parts.append(
                    _against_usual(
                        f"{respect} {value}, prompts {WANTED[expected]}",
                        members,
                        usual_members,
                        str(usual),
                        gap,
                        confidence_level,
                    )
                )
    return parts


def _against_originals(
    name: str,
    members: Sequence[PairedAnswers],
    originals: Mapping[str, PairedAnswers],
    gap: float,
    confidence_level: float,
) -> CheckPart:
    pairs = [(answer, originals[answer.prompt.facts["variant_of"]]) for answer in members]
    clusters = [answer.cluster for answer in members]
    anew, before = (
        [_wrong(answer) for answer, _ in pairs],
        [_wrong(original) for _, original in pairs],
    )
    borrowed = None
    if anew == before:
        # No pair differs: the reference says how alike the differences within one cluster are.
        changes = [
            (now - then, answer.cluster)
            for answer, original in pairs
            if (now := _wrong(answer, "reference")) is not None
            if (then := _wrong(original, "reference")) is not None
        ]
        borrowed = _correlation(changes)
    worse = estimated(lambda: paired_difference(anew, before, confidence_level, clusters, borrowed))
    return CheckPart(
        exceeds(worse, gap),
        f"{name}: {share_text(worse)} more wrong answers than in the original wording",
        known(**{name: worse}),
    )


def _against_usual(
    name: str,
    members: Sequence[PairedAnswers],
    usual_members: Sequence[PairedAnswers],
    usual: str,
    gap: float,
    confidence_level: float,
) -> CheckPart:
    worse = _over_shared_clusters(members, usual_members, confidence_level)
    if worse is None:
        there, here = (_wrong_share(side, confidence_level) for side in (members, usual_members))
        worse = None if there is None or here is None else difference_of(there, here)
    return CheckPart(
        exceeds(worse, gap),
        f"{name}: {share_text(worse)} more wrong answers than in {usual}",
        known(**{name: worse}),
    )


def _over_shared_clusters(
    members: Sequence[PairedAnswers],
    usual_members: Sequence[PairedAnswers],
    confidence_level: float,
) -> Estimate | None:
    """Mean difference of the shares of wrong answers over what both sides ask about, with Student's
    t interval; None with too little of it.

    Two languages mostly ask for the same things, of which some are hard in any language: compared
    as if they were others, the difference between things would count as noise between languages.
    """
    shares = [_wrong_by_cluster(side) for side in (members, usual_members)]
    shared = sorted(shares[0].keys() & shares[1].keys())
    wrong = sum(sum(outcomes) for side in shares for outcomes in side.values())
    if min(len(shared), wrong) < FEWEST:
        return None
    differences = [fmean(shares[0][cluster]) - fmean(shares[1][cluster]) for cluster in shared]
    difference = estimated(lambda: mean(differences, confidence_level))
    return difference if difference is not None and difference.varies else None


def _wrong_by_cluster(members: Sequence[PairedAnswers]) -> dict[str, list[bool]]:
    outcomes: dict[str, list[bool]] = {}
    for answer in members:
        wrong = _wrong(answer)
        if wrong is not None:
            outcomes.setdefault(answer.cluster, []).append(wrong)
    return outcomes


def difference_of(first: Estimate, second: Estimate) -> Estimate:
    """Difference of two independent estimates with the interval that follows from theirs (MOVER,
    Zou and Donner 2008; Newcombe 1998 for Wilson's)."""
    value = first.value - second.value
    low = value - math.hypot(first.value - first.low, second.high - second.value)
    high = value + math.hypot(first.high - first.value, second.value - second.low)
    return Estimate(
        value=value,
        low=low,
        high=high,
        level=first.level,
        n=min(first.n, second.n),
        unscored=first.unscored + second.unscored,
        method=f"MOVER of {first.method}",
        clusters=(
            None
            if first.clusters is None or second.clusters is None
            else min(first.clusters, second.clusters)
        ),
    )


def _wrong_share(members: Sequence[PairedAnswers], confidence_level: float) -> Estimate | None:
    """Share of wrong answers. Where there is none, or nothing else, the reference says how alike
    the prompts of one cluster are answered."""
    clusters = [answer.cluster for answer in members]
    outcomes = [_wrong(answer) for answer in members]
    borrowed = None
    if len({outcome for outcome in outcomes if outcome is not None}) < 2:
        judged = [
            (wrong, answer.cluster)
            for answer in members
            if (wrong := _wrong(answer, "reference")) is not None
        ]
        borrowed = _correlation(judged)
    return estimated(lambda: proportion(outcomes, confidence_level, clusters, borrowed))


def _wrong(answer: PairedAnswers, policy: Policy = "aligned") -> bool | None:
    right = is_right(answer.by_policy[policy].metrics)
    return None if right is None else not right


def _correlation(judged: Sequence[tuple[float, str]]) -> float | None:
    """Correlation within clusters of values that stand beside the name of their cluster."""
    values, clusters = [value for value, _ in judged], [cluster for _, cluster in judged]
    return intracluster_correlation(values, clusters) if judged else None
