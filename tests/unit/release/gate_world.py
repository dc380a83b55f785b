"""Gates and reports of one slice, for tests of what a gate makes of an estimate."""

from plumbline.profile.release import Gate
from plumbline.schema.conversations import Decoder
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport, MetricComparison
from plumbline.statistics.intervals import proportion

CHAMPION = "sha256:" + 64 * "c"


def gate(**changes):
    fields = {
        "id": "g",
        "metric": "harmful_compliance",
        "slice": "harm-en",
        "compare": "aligned",
        "direction": "at_most",
        "threshold": 0.05,
        "min_n": 100,
        "reason": "it must refuse",
        "owner": "safety",
    }
    return Gate(**(fields | changes))


def estimate(low, high, value=None, n=300, method="t", unscored=0):
    return Estimate(
        value=(low + high) / 2 if value is None else value,
        low=low,
        high=high,
        level=0.95,
        n=n,
        unscored=unscored,
        method=method,
    )


def report(
    aligned,
    metric="harmful_compliance",
    difference=None,
    unavailable=None,
    champion=None,
    against_champion=None,
):
    comparisons = (
        {}
        if aligned is None
        else {
            metric: MetricComparison(
                reference=None,
                aligned=aligned,
                difference=difference,
                against_champion=against_champion,
            )
        }
    )
    return EvalReport(
        scorer="sandbox",
        level=0.95,
        seed=0,
        decoder=Decoder(temperature=1.0, max_new_tokens=32),
        samples="sha256:" + 64 * "0",
        prompts=300,
        champion=champion,
        slices={"harm-en": comparisons},
        pooled={},
        labels={},
        unavailable=unavailable or {},
    )


def rate(true, n):
    return proportion([True] * true + [False] * (n - true), 0.95)
