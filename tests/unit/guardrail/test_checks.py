"""The release check `guardrail` and the re-check on newer judgments: what passes, what fails, and
what is not decided."""

import pytest

from plumbline.guardrail.checks import guardrail_check
from plumbline.guardrail.classifier import ViolationClassifier
from plumbline.guardrail.labels import GuardrailRow
from plumbline.guardrail.measurement import ErrorRates, GuardrailModel, Measurement, exact
from plumbline.guardrail.recheck import recheck
from plumbline.guardrail.threshold import Threshold
from plumbline.profile.evaluation import GuardrailConfig
from plumbline.schema.conversations import Message

RULE = GuardrailConfig(max_fpr=0.05, max_fnr=0.3, level=0.95, calibration=0.25, test=0.35)


def rates(fp, negatives, fn, positives):
    return ErrorRates(
        fpr=exact(fp, negatives, 0.95) if negatives else None,
        fnr=exact(fn, positives, 0.95) if positives else None,
    )


def measured(overall, slices=None, tactics=None, missing=""):
    return Measurement(
        guardrail="sha256:" + "0" * 64,
        level=0.95,
        counts={},
        left_out={},
        missing=missing,
        overall=overall,
        slices=slices or {},
        tactics=tactics or {},
    )


def test_the_exact_interval_is_the_published_one():
    """Clopper and Pearson 1934: 10 of 20 at 95 % gives 0.272 to 0.728; none of 20 ends at 1 -
    0.025^(1/20) = 0.168."""
    assert (exact(10, 20, 0.95).low, exact(10, 20, 0.95).high) == pytest.approx(
        (0.27196, 0.72804), abs=1e-5
    )
    assert (exact(0, 20, 0.95).low, exact(0, 20, 0.95).high) == pytest.approx(
        (0, 1 - 0.025 ** (1 / 20))
    )
    assert (exact(20, 20, 0.95).low, exact(20, 20, 0.95).high) == pytest.approx(
        (0.025 ** (1 / 20), 1)
    )


@pytest.mark.requirement("E5")
@pytest.mark.threat("G1")
@pytest.mark.parametrize(
    ("measurement", "verdict", "said"),
    [
        (None, "error", "there is no guardrail to ship"),
        (
            measured(ErrorRates(fpr=None, fnr=None), missing="58 are too few"),
            "inconclusive",
            "58 are too few",
        ),
        (measured(rates(0, 400, 0, 0)), "inconclusive", "the test split has no violations"),
        (
            measured(rates(0, 0, 9, 200)),
            "inconclusive",
            "the test split has no acceptable responses",
        ),
        (measured(rates(8, 400, 20, 200)), "pass", "fpr 2.0%"),
        (measured(rates(16, 400, 20, 200)), "inconclusive", "an interval contains its limit"),
        (measured(rates(60, 400, 20, 200)), "fail", "fpr 15.0%"),
        (measured(rates(8, 400, 100, 200)), "fail", "fnr 50.0%"),
    ],
    ids=[
        "none",
        "no threshold",
        "no violations",
        "no acceptable",
        "good",
        "undecided",
        "blocks too much",
        "misses too much",
    ],
)
def test_the_check_passes_on_proven_rates_only(measurement, verdict, said):
    """2 % of 400 ends at 3.9 %, 4 % of 400 at 6.4 %; 15 % of 400 begins at 11.7 %, 50 % of 200 at
    42.9 %."""
    found = guardrail_check(measurement, RULE)
    assert (found.name, found.verdict) == ("guardrail", verdict)
    assert said in found.explanation
    assert bool(found.remedy) == (verdict != "pass")


@pytest.mark.requirement("E5")
def test_a_slice_that_the_guardrail_misses_fails_however_good_the_average_is():
    """20 of 200 violations slip through overall, 18 of 25 of them in one language: the corrected
    interval of that slice begins above 30 %."""
    found = guardrail_check(
        measured(
            rates(8, 400, 20, 200),
            {"harm-en": rates(7, 300, 2, 175), "harm-es": rates(1, 100, 18, 25)},
        ),
        RULE,
    )
    assert found.verdict == "fail"
    assert "fnr of slice harm-es" in found.explanation
    assert "harm-en" not in found.explanation


def test_a_few_wrong_ticks_in_a_harmless_slice_are_not_held_against_the_guardrail():
    """Ten "violations" among 200 look-alikes, all missed: too few, and too rare among the rows, to
    be anything but wrong ticks."""
    assert (
        guardrail_check(
            measured(rates(8, 400, 20, 200), {}, {"lookalike": rates(3, 190, 10, 10)}), RULE
        ).verdict
        == "pass"
    )
    assert (
        guardrail_check(
            measured(rates(8, 400, 20, 200), {}, {"lookalike": rates(3, 380, 25, 25)}), RULE
        ).verdict
        == "pass"
    )


@pytest.fixture
def model():
    """Blocks every response that holds the word `plan`."""
    threshold = Threshold(
        value=0.5,
        max_fpr=0.05,
        level=0.95,
        acceptable=100,
        violations=50,
        allowed=1,
        bound=0.05,
        false_positives=0,
        caught=50,
        why="",
    )
    classifier = ViolationClassifier(
        intercept=-5.0, weights={"r plan": 10.0}, rows=100, violations=50
    )
    return GuardrailModel(
        format=1,
        profile="sandbox",
        rubric="r@1",
        preference_data="sha256:" + "0" * 64,
        rows="sha256:" + "0" * 64,
        threshold=threshold,
        classifier=classifier,
    )


def rows(count, response, *, violation, start=0):
    prompt = (Message(role="user", content="how?"),)
    return [
        GuardrailRow(
            id=f"{start + n:040x}",
            prompt=prompt,
            response=response,
            violation=violation,
            tactic=None,
            slice="s",
            locale="en",
            votes=1,
            events=("0" * 40,),
            source="attack",
        )
        for n in range(count)
    ]


@pytest.mark.requirement("E5")
def test_a_guardrail_that_misses_more_than_it_shipped_with_has_drifted(model):
    """Shipped: 10 of 200 violations missed. Since: 20 of 100, in words that it does not know;
    Fisher's exact p is below 0.001."""
    new = [
        *rows(300, "no", violation=False),
        *rows(80, "plan", violation=True),
        *rows(20, "scheme", violation=True),
    ]
    found = recheck(model, measured(rates(8, 400, 10, 200)), new)
    fpr, fnr = found.rates
    assert (found.status, fpr.status, fnr.status) == ("drifted", "pass", "drifted")
    assert fnr.p == pytest.approx(0.00011, abs=0.0001)
    assert fnr.since.value == pytest.approx(0.2)


def test_the_p_is_that_of_fishers_exact_test(model):
    """Checked against scipy's own test of the table of errors and hits, before and since."""
    from scipy.stats import fisher_exact

    found = recheck(
        model,
        measured(rates(8, 400, 10, 200)),
        [
            *rows(50, "plan", violation=True),
            *rows(7, "scheme", violation=True),
            *rows(9, "no", violation=False),
        ],
    )
    assert found.rates[1].p == pytest.approx(
        fisher_exact([[7, 50], [10, 190]], alternative="greater").pvalue
    )


@pytest.mark.requirement("E5")
def test_as_good_as_before_passes_with_enough_judgments_and_is_underpowered_with_few(model):
    good = [
        *rows(300, "no", violation=False),
        *rows(290, "plan", violation=True),
        *rows(10, "scheme", violation=True),
    ]
    assert recheck(model, measured(rates(8, 400, 10, 200)), good).status == "pass"
    few = recheck(model, measured(rates(8, 400, 10, 200)), rows(20, "plan", violation=True))
    assert few.status == "underpowered"
    assert few.rates[0].since is None
    assert recheck(model, measured(rates(8, 400, 10, 200)), []).status == "nothing new"


def test_the_recheck_raises_few_false_alarms(model):
    """Under the very rates that it shipped with, at most 5 % of the re-checks may call it drifted;
    exact tests stay well below. 100 draws: at most 12."""
    import random

    rng = random.Random(2)
    alarms = 0
    for _ in range(100):
        shipped = rates(
            sum(rng.random() < 0.02 for _ in range(200)),
            200,
            sum(rng.random() < 0.1 for _ in range(100)),
            100,
        )
        wrong, missed = (
            sum(rng.random() < 0.02 for _ in range(200)),
            sum(rng.random() < 0.1 for _ in range(100)),
        )
        new = [
            *rows(wrong, "plan", violation=False),
            *rows(200 - wrong, "no", violation=False),
            *rows(missed, "no", violation=True),
            *rows(100 - missed, "plan", violation=True),
        ]
        alarms += recheck(model, measured(shipped), new).status == "drifted"
    assert alarms <= 12
