"""Win rates: how often the first of two responses is the better one, with ties, and with the length
of the responses held equal.

A judge who likes long answers lets the longer policy win. Two figures take length out: the win rate
among pairs of like length, which assumes nothing and uses few pairs, and the win rate that a
logistic regression on the length difference predicts at difference zero (Dubois et al. 2024,
"Length-Controlled AlpacaEval", with the term of length only), which uses every pair and assumes
that shape. Where the raw rate is high and both of these are not, length won and not content.
"""

import warnings
from collections.abc import Sequence
from typing import Final

import numpy as np
from scipy.special import expit, stdtrit
from statsmodels.genmod import families
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.sm_exceptions import PerfectSeparationError, PerfectSeparationWarning

from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import WinRate
from plumbline.statistics.intervals import paired_difference

ALIKE: Final = 0.1
"""Responses are of like length when they differ by at most this share of the longer one."""
LEAST_OF_EACH: Final = 5
"""Wins and losses that a regression needs of each; with fewer its interval means nothing."""
LOGISTIC: Final = "logistic regression on length"
SEPARATED: Final = (
    "length decides nearly every verdict, so nothing is left to say about equal lengths"
)
DECIMALS: Final = 9
HALF_TANGO: Final = "tango, ties as half"


def win_rate(
    outcomes: Sequence[float | None],
    lengths: Sequence[tuple[float, float]],
    confidence_level: float,
    clusters: Sequence[str] | None = None,
) -> WinRate:
    """The win rate of the first side of each pair.

    Args:
        outcomes: 1.0 where the first side won, 0.5 for a tie, 0.0 where it lost, None where nobody
            judged.
        lengths: Length of the first and of the second response of each pair, in any one unit.
        confidence_level: Two-sided confidence level.
        clusters: Name of the cluster of each pair; None when every pair stands alone.

    Raises:
        InsufficientEvidence: If no pair was judged.
        ValueError: If an outcome is none of the four, or the arguments differ in length.
    """
    if any(outcome not in (0.0, 0.5, 1.0, None) for outcome in outcomes):
        raise ValueError("an outcome is 1.0 for a win, 0.5 for a tie, 0.0 for a loss or None")
    names = [str(position) for position in range(len(outcomes))] if clusters is None else clusters
    judged = [
        (outcome, pair, name)
        for outcome, pair, name in zip(outcomes, lengths, names, strict=True)
        if outcome is not None
    ]
    alike = [row for row in judged if abs(row[1][0] - row[1][1]) <= ALIKE * max(row[1])]
    fitted = _length_controlled(judged, confidence_level)
    scored = [outcome for outcome, _, _ in judged]
    return WinRate(
        wins=scored.count(1.0),
        ties=scored.count(0.5),
        losses=scored.count(0.0),
        unscored=len(outcomes) - len(judged),
        rate=_rate(
            scored, [name for _, _, name in judged], confidence_level, len(outcomes) - len(judged)
        ),
        matched=(
            _rate(
                [outcome for outcome, _, _ in alike],
                [name for _, _, name in alike],
                confidence_level,
                0,
            )
            if alike
            else None
        ),
        length_controlled=None if isinstance(fitted, str) else fitted[0],
        length_effect=None if isinstance(fitted, str) else fitted[1],
        why_not=fitted if isinstance(fitted, str) else None,
    )


def _rate(
    outcomes: Sequence[float], clusters: Sequence[str], confidence_level: float, unscored: int
) -> Estimate:
    """Half of one plus the difference of the shares of wins and losses, which Tango's interval is
    about: it has a width at 0 and at n wins."""
    difference = paired_difference(
        [outcome == 1.0 for outcome in outcomes],
        [outcome == 0.0 for outcome in outcomes],
        confidence_level,
        clusters,
    )
    bounds = {name: (1 + getattr(difference, name)) / 2 for name in ("value", "low", "high")}
    return difference.model_copy(update=bounds | {"method": HALF_TANGO, "unscored": unscored})


def _length_controlled(
    judged: Sequence[tuple[float, tuple[float, float], str]], confidence_level: float
) -> tuple[Estimate, Estimate] | str:
    """The rate at equal length and the effect of length, or why there are none.

    Ties enter as half a win (quasi-likelihood); the covariance is that of whole clusters, with K -
    1 degrees of freedom.
    """
    outcomes = np.array([outcome for outcome, _, _ in judged])
    fewest = min(int((outcomes == 1).sum()), int((outcomes == 0).sum()))
    names, codes = np.unique([name for _, _, name in judged], return_inverse=True)
    if fewest < LEAST_OF_EACH or len(names) < 2 * LEAST_OF_EACH:
        return (
            f"a regression on length needs {LEAST_OF_EACH} wins, {LEAST_OF_EACH} losses and"
            f" {2 * LEAST_OF_EACH} clusters"
        )
    longer = np.array([first - second for _, (first, second), _ in judged])
    if not longer.std():
        return "every pair has the same difference in length"
    # bounded as in the source, so that a few very long responses do not carry the fit
    design = np.column_stack([np.ones(len(longer)), np.tanh(longer / longer.std())])
    try:
        # a fit that runs away ends in numbers that are not finite, which are looked for below
        with (
            warnings.catch_warnings(),
            np.errstate(divide="ignore", over="ignore", invalid="ignore"),
        ):
            warnings.simplefilter("error", PerfectSeparationWarning)
            fit = GLM(outcomes, design, family=families.Binomial()).fit(
                cov_type="cluster", cov_kwds={"groups": codes}
            )
    except (PerfectSeparationError, PerfectSeparationWarning):
        return SEPARATED
    reach = float(stdtrit(len(names) - 1, (1 + confidence_level) / 2)) * fit.bse
    # rounded, so that the last bits, which differ between processors, do not reach a stored record
    bounds = np.array([fit.params, fit.params - reach, fit.params + reach]).round(DECIMALS)
    if not fit.converged or not np.isfinite(bounds).all():
        return SEPARATED
    unfitted = Estimate(
        value=0,
        low=0,
        high=0,
        level=confidence_level,
        n=len(judged),
        unscored=0,
        method=LOGISTIC,
        clusters=len(names) if len(names) < len(judged) else None,
    )
    rate, effect = (
        {name: float(bound) for name, bound in zip(("value", "low", "high"), column, strict=True)}
        for column in (expit(bounds[:, 0]), bounds[:, 1])
    )
    return unfitted.model_copy(update=rate), unfitted.model_copy(update=effect)
