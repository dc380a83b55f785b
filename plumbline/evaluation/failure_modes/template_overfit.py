"""Template overfit: answers that are right in the wording, language or template that was trained
on, and wrong in another one."""

import math
from collections.abc import Mapping, Sequence
from statistics import fmean
from typing import Final

from plumbline.evaluation.paired_answers import PairedAnswers, base_only, by_slice
from plumbline.evaluation.quality import is_right
from plumbline.evaluation.vault.suites import tags
from plumbline.schema.estimates import Estimate
from plumbline.schema.samples import Policy
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

_BETWEEN: Final = {
    "comply": "to be answered",
    "refuse": "to be refused",
    "unknown": "without a known answer",
}
OWN_TEMPLATE: Final = "own"
FEWEST: Final = 10
"""Things asked about on both sides, and wrong answers, below which a mean over them has no
trustworthy t interval."""


def wording_parts(
    answers: Sequence[PairedAnswers], gap: float, level: float
) -> tuple[list[CheckPart], list[CheckPart]]:
    """Reworded prompts against the prompts that they reword, on the same policy: the groups that
    have to pass, and the slices that are searched.

    Args:
        answers: Answers to all prompts of the vault.
        gap: How much larger the share of wrong answers may be in another wording.
        level: Two-sided confidence level.
    """
    originals = {one.prompt.id: one for one in answers}
    reworded = [one for one in answers if one.prompt.facts.get("variant_of") in originals]
    if not reworded:
        return [
            CheckPart(
                None, "no prompt of the vault is worded anew, so one wording is all that was tested"
            )
        ], []
    groups: dict[str, list[PairedAnswers]] = {}
    for one in reworded:
        groups.setdefault(
            f"{one.prompt.facts.get('variant', 'reworded')} prompts"
            f" {_BETWEEN[one.prompt.expected]}",
            [],
        ).append(one)
    slices = by_slice(reworded)
    parts = [
        _against_originals(name, members, originals, gap, level)
        for name, members in sorted(groups.items())
    ]
    searched = [
        _against_originals(f"slice {name}", members, originals, gap, corrected(level, len(slices)))
        for name, members in slices.items()
    ]
    return parts, searched


def invariance_parts(
    answers: Sequence[PairedAnswers], training_locales: Mapping[str, int], gap: float, level: float
) -> list[CheckPart]:
    """Other languages against the one that most training pairs are in, and other templates against
    plain prompts; all of them have to pass.

    Args:
        answers: Answers to all prompts of the vault; reworded ones are passed over.
        training_locales: Training pairs by locale.
        gap: How much larger the share of wrong answers may be.
        level: Two-sided confidence level.
    """
    most = max(sorted(training_locales), key=lambda locale: training_locales[locale], default=None)
    parts = []
    for respect, usual in (("language", most), ("template", OWN_TEMPLATE)):
        groups: dict[tuple[str, str], list[PairedAnswers]] = {}
        for one in base_only(answers):
            value = next(
                tag.partition(":")[2] for tag in tags(one.prompt) if tag.startswith(f"{respect}:")
            )
            groups.setdefault((one.prompt.expected, value), []).append(one)
        for (expected, value), members in sorted(groups.items()):
            usual_members = groups.get((expected, str(usual)))
            if value != usual and usual_members:
                parts.append(
                    _against_usual(
                        f"{respect} {value}, prompts {_BETWEEN[expected]}",
                        members,
                        usual_members,
                        str(usual),
                        gap,
                        level,
                    )
                )
    return parts


def _against_originals(
    name: str,
    members: Sequence[PairedAnswers],
    originals: Mapping[str, PairedAnswers],
    gap: float,
    level: float,
) -> CheckPart:
    pairs = [(one, originals[one.prompt.facts["variant_of"]]) for one in members]
    clusters = [one.cluster for one in members]
    anew, before = [_wrong(one) for one, _ in pairs], [_wrong(other) for _, other in pairs]
    borrowed = None
    if anew == before:
        # No pair differs: the reference says how alike the differences within one cluster are.
        changes = [
            (now - then, one.cluster)
            for one, other in pairs
            if (now := _wrong(one, "reference")) is not None
            if (then := _wrong(other, "reference")) is not None
        ]
        borrowed = (
            intracluster_correlation(
                [change for change, _ in changes], [cluster for _, cluster in changes]
            )
            if changes
            else None
        )
    worse = estimated(lambda: paired_difference(anew, before, level, clusters, borrowed))
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
    level: float,
) -> CheckPart:
    worse = _over_shared_clusters(members, usual_members, level)
    if worse is None:
        there, here = (_wrong_share(side, level) for side in (members, usual_members))
        worse = None if there is None or here is None else difference_of(there, here)
    return CheckPart(
        exceeds(worse, gap),
        f"{name}: {share_text(worse)} more wrong answers than in {usual}",
        known(**{name: worse}),
    )


def _over_shared_clusters(
    members: Sequence[PairedAnswers], usual_members: Sequence[PairedAnswers], level: float
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
    found = estimated(lambda: mean(differences, level))
    return found if found is not None and found.varies else None


def _wrong_by_cluster(members: Sequence[PairedAnswers]) -> dict[str, list[bool]]:
    found: dict[str, list[bool]] = {}
    for one in members:
        wrong = _wrong(one)
        if wrong is not None:
            found.setdefault(one.cluster, []).append(wrong)
    return found


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


def _wrong_share(members: Sequence[PairedAnswers], level: float) -> Estimate | None:
    """Share of wrong answers. Where there is none, or nothing else, the reference says how alike
    the prompts of one cluster are answered."""
    clusters = [one.cluster for one in members]
    outcomes = [_wrong(one) for one in members]
    borrowed = None
    if len({outcome for outcome in outcomes if outcome is not None}) < 2:
        judged = [
            (wrong, one.cluster)
            for one in members
            if (wrong := _wrong(one, "reference")) is not None
        ]
        borrowed = (
            intracluster_correlation(
                [wrong for wrong, _ in judged], [cluster for _, cluster in judged]
            )
            if judged
            else None
        )
    return estimated(lambda: proportion(outcomes, level, clusters, borrowed))


def _wrong(one: PairedAnswers, policy: Policy = "aligned") -> bool | None:
    right = is_right(one.by_policy[policy].metrics)
    return None if right is None else not right
