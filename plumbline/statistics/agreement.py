"""Coefficients of agreement between annotators, each with a bootstrap interval over prompts.

==========  =====================================================  ===============================
name        what it is                                             defined when
==========  =====================================================  ===============================
alpha       Krippendorff's alpha (2011, "Computing                 at least two answers occur; any
            Krippendorff's alpha-reliability"):                    number of annotators for each
            1 - observed / expected disagreement                   item
kappa       Cohen's kappa (1960), or Fleiss' kappa (1971):         nominal answers; Cohen: the
            agreement beyond what the marginal shares give         same two people judged every
                                                                   item; Fleiss: equally many did
raw         probability that two annotators of one item agree      always
discounted  the same, where 1/2 counts when exactly one of the     answers with a tie
            two says tie (Wang et al. 2023, "How Far Can Camels
            Go?", section 5)
untied      the same among the judgments that are no tie           answers with a tie
==========  =====================================================  ===============================

Every item weighs the same in the last three. Values come from the packages `krippendorff` and
`statsmodels`; the interval is the percentile interval of resampled prompts (Efron 1979), because
judgments of one prompt are not independent of each other.
"""

from typing import Final, Literal, NamedTuple

import krippendorff
import numpy as np
from numpy.typing import NDArray
from statsmodels.stats.inter_rater import cohens_kappa, fleiss_kappa

from plumbline.schema.estimates import Estimate

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

Scale = Literal["nominal", "ordinal"]
METHOD: Final = "percentile bootstrap over prompts"
RESAMPLES: Final = 1000
MOST_GROUPS: Final = 4096
"""More prompts than this are merged into as many groups before they are resampled: the interval
stays valid and memory bounded."""
DECIMALS: Final = 6
"""Results are rounded, so that the last bits of a sum, which differ between processors, do not
reach a stored record."""
MOST_UNDEFINED: Final = 0.05
"""Share of resamples in which a coefficient may be undefined; above it the answers hardly vary and
there is no interval to give."""


class AgreementTable(NamedTuple):
    """The answers of at least two annotators on each of several items."""

    counts: Integers
    """Shape (items, answers): how many annotators gave each answer; every row sums to at least
    2."""
    prompts: Integers
    """Shape (items,): the prompt of each item; items of one prompt are resampled together."""
    both: Integers | None
    """Shape (items, 2): answers of the first and the second annotator where the same two judged
    every item; else None."""
    scale: Scale
    tie: int | None
    """Index of the answer that is a tie; None where there is none."""


class Coefficients(NamedTuple):
    """Each coefficient, or None where it is not defined."""

    alpha: Estimate | None
    kappa: Estimate | None
    kappa_kind: Literal["cohen", "fleiss"] | None
    raw: Estimate | None
    discounted: Estimate | None
    untied: Estimate | None


def coefficients(
    judged: AgreementTable, once: int, confidence_level: float, seed: int
) -> Coefficients:
    """Compute every coefficient that is defined.

    Args:
        judged: The doubly judged items.
        once: Items that one annotator judged; recorded as unscored.
        confidence_level: Two-sided confidence level.
        seed: Seed of the bootstrap.
    """
    features = _features(judged)
    sums = _sums_by_prompt(features, judged.prompts)
    # How often each prompt is drawn, (RESAMPLES, prompts); its product with the sums resamples.
    drawn = np.random.default_rng(seed).multinomial(
        len(sums), np.full(len(sums), 1 / len(sums)), size=RESAMPLES
    )
    resampled = drawn.astype(np.float64) @ sums
    answers = judged.counts.shape[1]
    kind, n = _kappa_kind(judged), len(judged.counts)

    def estimate(value: float, draws: Floats, n: int = n) -> Estimate | None:
        defined = draws[~np.isnan(draws)]
        if np.isnan(value) or n == 0 or len(defined) < (1 - MOST_UNDEFINED) * RESAMPLES:
            return None
        low, high = np.quantile(defined, [(1 - confidence_level) / 2, (1 + confidence_level) / 2])
        value, low, high = (round(float(number), DECIMALS) for number in (value, low, high))
        return Estimate(
            value=value,
            low=min(low, value),
            high=max(high, value),
            level=confidence_level,
            n=n,
            unscored=once,
            method=METHOD,
            seed=seed,
        )

    total = sums.sum(axis=0, keepdims=True)
    untied = int(features[:, _UNTIED_ITEMS].sum())
    return Coefficients(
        alpha=estimate(
            _alpha(judged), resampled_alpha(resampled[:, _HEAD : _HEAD + answers**2], judged.scale)
        ),
        kappa=(
            None
            if kind is None
            else estimate(_kappa(judged, kind), resampled_kappa(resampled, answers, kind))
        ),
        kappa_kind=kind,
        raw=estimate(*_share(total, resampled, _AGREEING, _ITEMS)),
        discounted=(
            None if judged.tie is None else estimate(*_share(total, resampled, _DISCOUNTED, _ITEMS))
        ),
        untied=(
            None
            if judged.tie is None
            else estimate(*_share(total, resampled, _UNTIED_AGREEING, _UNTIED_ITEMS), n=untied)
        ),
    )


_ITEMS, _AGREEING, _DISCOUNTED, _UNTIED_AGREEING, _UNTIED_ITEMS, _HEAD = range(6)
"""Columns of the features; behind them stand the coincidences, the shares of the answers, and the
two annotators' cross table."""


def _sums_by_prompt(features: Floats, prompts: Integers) -> Floats:
    """Sums of the features over the items of each prompt, at most MOST_GROUPS rows."""
    _, numbers = np.unique(prompts, return_inverse=True)
    groups = numbers % MOST_GROUPS
    sums = np.zeros((int(groups.max()) + 1, features.shape[1]))
    np.add.at(sums, groups, features)
    return sums


def _features(judged: AgreementTable) -> Floats:
    """One row for each item, such that every coefficient is a function of their sums."""
    counts = judged.counts.astype(np.float64)
    items, answers = counts.shape
    annotators = counts.sum(axis=1)
    agreeing = (counts * (counts - 1)).sum(axis=1) / (annotators * (annotators - 1))
    ties = counts[:, judged.tie] if judged.tie is not None else np.zeros(items)
    others = annotators - ties
    untied_pairs = others * (others - 1)
    untied_agreeing = (counts * (counts - 1)).sum(axis=1) - ties * (ties - 1)
    coincidences = (
        counts[:, :, None] * counts[:, None, :] - counts[:, :, None] * np.eye(answers)
    ) / (annotators - 1)[:, None, None]
    cross = np.zeros((items, answers, answers))
    if judged.both is not None:
        cross[np.arange(items), judged.both[:, 0], judged.both[:, 1]] = 1
    head = [
        np.ones(items),
        agreeing,
        agreeing + ties * others / (annotators * (annotators - 1)),
        np.divide(untied_agreeing, untied_pairs, out=np.zeros(items), where=untied_pairs > 0),
        (untied_pairs > 0).astype(np.float64),
    ]
    return np.concatenate(
        [
            np.stack(head, axis=1),
            coincidences.reshape(items, -1),
            counts / annotators[:, None],
            cross.reshape(items, -1),
        ],
        axis=1,
    )


def _kappa_kind(judged: AgreementTable) -> Literal["cohen", "fleiss"] | None:
    if judged.scale == "ordinal":
        return None
    if judged.both is not None:
        return "cohen"
    annotators = judged.counts.sum(axis=1)
    return "fleiss" if (annotators == annotators[0]).all() else None


def _share(total: Floats, resampled: Floats, part: int, whole: int) -> tuple[float, Floats]:
    def share(sums: Floats) -> Floats:
        return _ratio(sums[:, part], sums[:, whole], sums[:, whole] > 0)

    return float(share(total)[0]), share(resampled)


def _alpha(judged: AgreementTable) -> float:
    if (judged.counts.sum(axis=0) > 0).sum() < 2:
        return float("nan")  # with one answer alone no disagreement is expected
    return float(
        krippendorff.alpha(
            value_counts=judged.counts,
            value_domain=np.arange(judged.counts.shape[1]),
            level_of_measurement=judged.scale,
        )
    )


def _kappa(judged: AgreementTable, kind: Literal["cohen", "fleiss"]) -> float:
    answers = judged.counts.shape[1]
    if (judged.counts.sum(axis=0) > 0).sum() < 2:
        return float("nan")
    if kind == "fleiss":
        return float(fleiss_kappa(judged.counts, method="fleiss"))
    assert judged.both is not None, "Cohen's kappa needs the same two annotators everywhere"
    table = np.zeros((answers, answers))
    np.add.at(table, (judged.both[:, 0], judged.both[:, 1]), 1)
    return float(cohens_kappa(table, return_results=False))


def resampled_alpha(coincidences: Floats, scale: Scale) -> Floats:
    """Krippendorff's alpha of each row.

    Args:
        coincidences: Shape (rows, answers squared): summed coincidence matrices.
        scale: How far two answers are apart.

    Returns:
        Shape (rows,); NaN where one answer alone occurs.
    """
    answers = int(np.sqrt(coincidences.shape[1]))
    observed = coincidences.reshape(-1, answers, answers)
    marginals = observed.sum(axis=2)
    n = marginals.sum(axis=1)
    if scale == "nominal":
        distances = np.broadcast_to(1 - np.eye(answers), observed.shape)
    else:
        up_to = np.concatenate(
            [np.zeros((len(marginals), 1)), np.cumsum(marginals, axis=1)], axis=1
        )
        low, high = (
            np.minimum.outer(np.arange(answers), np.arange(answers)),
            np.maximum.outer(np.arange(answers), np.arange(answers)),
        )
        between = up_to[:, high + 1] - up_to[:, low]
        distances = (between - (marginals[:, :, None] + marginals[:, None, :]) / 2) ** 2
    disagreement = (observed * distances).sum(axis=(1, 2))
    expected = (marginals[:, :, None] * marginals[:, None, :] * distances).sum(
        axis=(1, 2)
    )  # the diagonal has distance 0
    return 1 - _ratio((n - 1) * disagreement, expected, expected > 0)


def resampled_kappa(sums: Floats, answers: int, kind: Literal["cohen", "fleiss"]) -> Floats:
    """Cohen's or Fleiss' kappa of each row of summed features; NaN where one answer alone
    occurs."""
    shares_at = _HEAD + answers**2
    if kind == "fleiss":
        observed = sums[:, _AGREEING] / sums[:, _ITEMS]
        expected = ((sums[:, shares_at : shares_at + answers] / sums[:, [_ITEMS]]) ** 2).sum(axis=1)
    else:
        table = (
            sums[:, shares_at + answers :].reshape(-1, answers, answers)
            / sums[:, _ITEMS][:, None, None]
        )
        observed = np.trace(table, axis1=1, axis2=2)
        expected = (table.sum(axis=2) * table.sum(axis=1)).sum(axis=1)
    return _ratio(observed - expected, 1 - expected, 1 - expected > 1e-12)


def _ratio(part: Floats, whole: Floats, defined: NDArray[np.bool_]) -> Floats:
    ratio: Floats = np.divide(part, whole, out=np.full(len(whole), np.nan), where=defined)
    return ratio
