"""The coefficients of agreement, against their authors' own examples and other packages."""

import numpy as np
import pytest

from plumbline.data.quality.agreement import (
    AgreementTally,
    agreement,
)
from plumbline.statistics.agreement import (
    AgreementTable,
    coefficients,
    resampled_alpha,
    resampled_kappa,
)
from tests.unit.data.quality.rated_events import rated, votes

_ = None
KRIPPENDORFF = (
    (1, 2, 3, 3, 2, 1, 4, 1, 2, _, _, _),
    (1, 2, 3, 3, 2, 2, 4, 1, 2, 5, _, 3),
    (_, 3, 3, 3, 2, 3, 4, 2, 2, 5, 1, _),
    (1, 2, 3, 3, 2, 4, 4, 1, 2, 5, 1, _),
)
"""Krippendorff 2011, "Computing Krippendorff's alpha-reliability", section C: four observers,
twelve units; alpha nominal 0.743, ordinal 0.815."""


@pytest.mark.requirement("D12")
@pytest.mark.requirement("S8")
def test_krippendorffs_own_example_on_ratings_of_a_dimension():
    events = [
        rated(f"unit {unit}", f"rater-{rater}", score)
        for rater, scores in enumerate(KRIPPENDORFF)
        for unit, score in enumerate(scores)
        if score is not None
    ]
    found = agreement(events, 0.95, 1).question("safe")
    assert found.alpha.value == pytest.approx(0.815, abs=5e-4)
    assert found.alpha.low < 0.815 < found.alpha.high
    assert (found.scale, found.items, found.once, found.judgments, found.annotators) == (
        "ordinal",
        11,
        1,
        40,
        4,
    )
    assert (found.alpha.n, found.alpha.unscored, found.alpha.seed) == (11, 1, 1)
    assert found.kappa is None  # kappa would take 1 and 5 to be as far apart as 4 and 5


@pytest.mark.requirement("D12")
def test_krippendorffs_own_example_on_a_nominal_question():
    """The same values as names of clauses, which are not ordered: 0.743."""
    rows = [
        (unit, f"rater-{rater}", None, f"clause-{value}")
        for rater, values in enumerate(KRIPPENDORFF)
        for unit, value in enumerate(values)
        if value
    ]
    tally = AgreementTally()
    tally.add_compared(votes(rows))
    assert tally.report(0.95, 1).question("clause").alpha.value == pytest.approx(0.743, abs=5e-4)


def judged(counts, both=None, scale="nominal", tie=None):
    counts = np.array(counts)
    return AgreementTable(counts, np.arange(len(counts)), both, scale, tie)


def test_fleiss_own_example():
    """Fleiss 1971 as it is commonly quoted: 10 subjects, 14 raters, 5 categories, kappa 0.210."""
    table = [
        [0, 0, 0, 0, 14],
        [0, 2, 6, 4, 2],
        [0, 0, 3, 5, 6],
        [0, 3, 9, 2, 0],
        [2, 2, 8, 1, 1],
        [7, 7, 0, 0, 0],
        [3, 2, 6, 3, 0],
        [2, 5, 3, 2, 2],
        [6, 5, 2, 1, 0],
        [0, 2, 2, 3, 7],
    ]
    found = coefficients(judged(table), 0, 0.95, 1)
    assert (found.kappa_kind, round(found.kappa.value, 3)) == ("fleiss", 0.210)
    assert found.raw.value == pytest.approx(0.378, abs=5e-4)  # the mean of P_i in the same example


def test_cohens_kappa_of_two_annotators():
    """Both yes 20, only the first yes 5, only the second 10, both no 15: observed 0.7, expected 0.5
    x 0.6 + 0.5 x 0.4 = 0.5, kappa 0.4."""
    answers = [(0, 0)] * 20 + [(0, 1)] * 5 + [(1, 0)] * 10 + [(1, 1)] * 15
    counts = [[pair.count(0), pair.count(1)] for pair in answers]
    found = coefficients(judged(counts, both=np.array(answers)), 0, 0.95, 1)
    assert (found.kappa_kind, found.kappa.value) == ("cohen", pytest.approx(0.4))
    assert found.kappa.low < 0.4 < found.kappa.high


def random_counts(seed, items, answers, annotators):
    """Answers that agree better than chance."""
    generator = np.random.default_rng(seed)
    truth = generator.integers(answers, size=items)
    given = np.where(
        generator.random((items, annotators)) < 0.6,
        truth[:, None],
        generator.integers(answers, size=(items, annotators)),
    )
    return np.stack([(given == answer).sum(axis=1) for answer in range(answers)], axis=1)


@pytest.mark.parametrize("scale", ["nominal", "ordinal"])
@pytest.mark.parametrize("annotators", [2, 4])
def test_the_resampled_coefficients_are_those_of_the_packages(scale, annotators):
    """The bootstrap sums coincidence matrices; on the sample itself it must give what
    `krippendorff` and `statsmodels` give."""
    import krippendorff
    from statsmodels.stats.inter_rater import fleiss_kappa

    counts = random_counts(3, 40, 4, annotators)
    by_item = [
        (np.outer(row, row) - np.diag(row)) / (row.sum() - 1) for row in counts.astype(float)
    ]
    expected = krippendorff.alpha(
        value_counts=counts, value_domain=np.arange(4), level_of_measurement=scale
    )
    assert resampled_alpha(np.sum(by_item, axis=0).reshape(1, -1), scale)[0] == pytest.approx(
        expected, abs=1e-12
    )
    raw = (counts * (counts - 1)).sum() / (annotators * (annotators - 1))
    sums = np.concatenate(
        [[40, raw, 0, 0, 0], np.zeros(16), counts.sum(axis=0) / annotators, np.zeros(16)]
    )
    assert resampled_kappa(sums.reshape(1, -1), 4, "fleiss")[0] == pytest.approx(
        fleiss_kappa(counts), abs=1e-12
    )


def test_alpha_of_one_answer_alone_is_not_defined():
    assert np.isnan(resampled_alpha(np.array([[6.0, 0, 0, 0]]), "nominal")[0])
    found = coefficients(judged([[2, 0]] * 20), 0, 0.95, 1)
    assert (found.alpha, found.kappa, found.raw.value) == (None, None, 1.0)


def test_intervals_cover_what_they_claim():
    """Two annotators agree with probability 0.7 on each of 60 items: of 200 samples, the 95 %
    interval must hold 0.7 in about 190.

    A binomial with n = 200 and p = 0.95 is below 178 (89 %) with a probability under 0.0004;
    percentile intervals cover slightly less than they claim. With an interval half as wide, about
    135 would hold it.
    """
    generator = np.random.default_rng(7)
    covered = 0
    for seed in range(200):
        agree = generator.random(60) < 0.7
        raw = coefficients(judged(np.where(agree[:, None], [2, 0], [1, 1])), 0, 0.95, seed).raw
        covered += raw.low <= 0.7 <= raw.high
    assert covered >= 178


def test_judgments_of_one_prompt_are_resampled_together():
    """Ten prompts whose 20 items all agree or all disagree hold as much evidence as ten items: the
    interval is about as wide, not a fourth."""
    counts = np.repeat(np.array([[2, 0], [1, 1]] * 5), 20, axis=0)
    together = coefficients(
        AgreementTable(counts, np.repeat(np.arange(10), 20), None, "nominal", None), 0, 0.95, 1
    ).raw
    apart = coefficients(judged(counts), 0, 0.95, 1).raw
    assert together.high - together.low > 3.5 * (apart.high - apart.low)
