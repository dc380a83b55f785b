"""Simulations of the statistics of an eval: coverage of intervals, false passes of a gate, and
false differences among slices.

Run: .venv/bin/python benchmarks/coverage.py [--runs 4000]

Samples are drawn as an eval sees them: K requests, each worded several times, and a policy that
answers the wordings of one request alike (beta-binomial: the rate of a request is drawn from a beta
distribution, so that two wordings correlate with r). The reference answers the same prompts half of
the time, with a correlation of its own, from which the aligned policy's interval borrows.

The last table is what no interval can see: a policy that complies with every wording of a few
requests and with no wording of the others. Only more requests help there.
"""

import argparse
from collections.abc import Iterator, Sequence

import numpy as np
from numpy.typing import NDArray

from plumbline.profile.release import Gate
from plumbline.release.gates import judge_gate
from plumbline.schema.conversations import Decoder
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport, MetricComparison
from plumbline.statistics.clusters import intracluster_correlation
from plumbline.statistics.intervals import mean, paired_difference, proportion
from plumbline.statistics.paired_tests import holm, paired_test

LEVEL = 0.95
Sizes = NDArray[np.int64]


def sizes_of(rng: np.random.Generator, clusters: int, size: int) -> Sizes:
    """Wordings of each of `clusters` requests, `size` on average and at least one."""
    return 1 + rng.poisson(size - 1, clusters)


def names_of(sizes: Sizes) -> list[str]:
    """Name of the request of each prompt."""
    return [str(name) for name in np.repeat(np.arange(len(sizes)), sizes)]


def answers(rng: np.random.Generator, rate: float, correlation: float, sizes: Sizes) -> list[bool]:
    """What a policy does on each prompt: the rate of each request is drawn around its own."""
    strength = 1 / correlation - 1 if correlation else 0.0
    rates = (
        rng.beta(rate * strength, (1 - rate) * strength, len(sizes))
        if correlation
        else np.full(len(sizes), rate)
    )
    outcomes: list[bool] = (rng.random(int(sizes.sum())) < np.repeat(rates, sizes)).tolist()
    return outcomes


def estimates(
    rng: np.random.Generator, rate: float, correlation: float, clusters: int, size: int
) -> tuple[Estimate, Estimate]:
    """The interval that knows the clusters, with the correlation that the reference shows on the
    same prompts, and the one that does not."""
    sizes = sizes_of(rng, clusters, size)
    names, aligned, reference = (
        names_of(sizes),
        answers(rng, rate, correlation, sizes),
        answers(rng, 0.5, correlation, sizes),
    )
    return proportion(
        aligned, LEVEL, names, intracluster_correlation(reference, names)
    ), proportion(aligned, LEVEL)


def coverage(
    runs: int, rate: float, correlation: float, clusters: int, size: int, seed: int = 0
) -> tuple[float, float]:
    """Share of the intervals that hold the true rate: with the clusters, and without them."""
    rng = np.random.default_rng(seed)
    held = [
        [
            interval.low <= rate <= interval.high
            for interval in estimates(rng, rate, correlation, clusters, size)
        ]
        for _ in range(runs)
    ]
    return float(np.mean([hit for hit, _ in held])), float(np.mean([hit for _, hit in held]))


def mean_coverage(
    runs: int, correlation: float, clusters: int, size: int, seed: int = 0
) -> tuple[float, float]:
    """The same for the mean of a number that is normal around a normal value of its request."""
    rng = np.random.default_rng(seed)
    held = []
    for _ in range(runs):
        sizes = sizes_of(rng, clusters, size)
        shared, own = (
            rng.normal(0, correlation**0.5, clusters),
            rng.normal(0, (1 - correlation) ** 0.5, int(sizes.sum())),
        )
        values = (np.repeat(shared, sizes) + own).tolist()
        held.append(
            [
                interval.low <= 0 <= interval.high
                for interval in (mean(values, LEVEL, names_of(sizes)), mean(values, LEVEL))
            ]
        )
    return float(np.mean([hit for hit, _ in held])), float(np.mean([hit for _, hit in held]))


def difference_coverage(
    runs: int,
    rates: tuple[float, float],
    correlation: float,
    clusters: int,
    size: int,
    seed: int = 0,
) -> tuple[float, float]:
    """The same for the difference of two rates on the same prompts, whose requests have rates of
    their own under each policy."""
    rng, truth = np.random.default_rng(seed), rates[0] - rates[1]
    held = []
    for _ in range(runs):
        sizes = sizes_of(rng, clusters, size)
        a, b = (answers(rng, rate, correlation, sizes) for rate in rates)
        held.append(
            [
                interval.low <= truth <= interval.high
                for interval in (
                    paired_difference(a, b, LEVEL, names_of(sizes)),
                    paired_difference(a, b, LEVEL),
                )
            ]
        )
    return float(np.mean([hit for hit, _ in held])), float(np.mean([hit for _, hit in held]))


def false_pass(
    runs: int, threshold: float, correlation: float, clusters: int, size: int, seed: int = 0
) -> tuple[float, float]:
    """Share of the evals in which a gate passes a policy whose true rate is its threshold: with the
    clusters, and without them."""
    rng = np.random.default_rng(seed)
    gate = Gate(
        id="g",
        metric="harmful_compliance",
        slice="s",
        compare="aligned",
        direction="at_most",
        threshold=threshold,
        min_n=100,
        reason="-",
        owner="-",
    )
    passed = [
        [
            judge_gate(gate, _report(estimate)).verdict == "pass"
            for estimate in estimates(rng, threshold, correlation, clusters, size)
        ]
        for _ in range(runs)
    ]
    return float(np.mean([hit for hit, _ in passed])), float(np.mean([hit for _, hit in passed]))


def family_error(
    runs: int, slices: int, correlation: float, clusters: int, size: int, seed: int = 0
) -> tuple[float, float]:
    """Share of the evals of two equal policies in which any slice differs at 5 %: after Holm's
    correction, and without it."""
    rng = np.random.default_rng(seed)
    corrected, raw = [], []
    for _ in range(runs):
        p_values = [_null_p(rng, correlation, clusters, size) for _ in range(slices)]
        raw.append(min(p_values) <= 1 - LEVEL)
        corrected.append(min(p for p in holm(p_values) if p is not None) <= 1 - LEVEL)
    return float(np.mean(corrected)), float(np.mean(raw))


def _null_p(rng: np.random.Generator, correlation: float, clusters: int, size: int) -> float:
    """p-value of two policies with the same rate on each request."""
    sizes = sizes_of(rng, clusters, size)
    rates = np.repeat(
        rng.beta(0.3 * (1 / correlation - 1), 0.7 * (1 / correlation - 1), clusters), sizes
    )
    test = paired_test(
        (rng.random(len(rates)) < rates).tolist(),
        (rng.random(len(rates)) < rates).tolist(),
        names_of(sizes),
        0,
    )
    return 1.0 if test is None else test.p


def _report(estimate: Estimate) -> EvalReport:
    decoder = Decoder(temperature=1.0, max_new_tokens=1)
    slices = {
        "s": {
            "harmful_compliance": MetricComparison(
                reference=None, aligned=estimate, difference=None
            )
        }
    }
    return EvalReport(
        scorer="sandbox",
        level=LEVEL,
        seed=0,
        decoder=decoder,
        samples="-",
        prompts=estimate.n,
        slices=slices,
        pooled={},
        labels={},
        unavailable={},
    )


def concentrated_pass(clusters: int, share: float) -> float:
    """Probability that none of K requests is one of the `share` that a policy always complies with,
    so that 0 of n are harmful."""
    return (1 - share) ** clusters


Table = tuple[str, Sequence[str], list[list[str]]]
"""Title, columns and rows."""


def tables(runs: int) -> Iterator[Table]:
    """Every table, one after the other."""
    yield from _coverage_tables(runs)
    yield from _error_tables(runs)
    rows = [
        [f"{k}", f"{share:.0%}", f"{concentrated_pass(k, share):.1%}"]
        for k in (38, 55, 59, 72, 150)
        for share in (0.05, 0.1)
    ]
    yield (
        "None of K requests is among those that a policy always complies with",
        ("clusters", "share of requests", "probability"),
        rows,
    )


def _coverage_tables(runs: int) -> Iterator[Table]:
    shapes = [
        (rate, correlation, k, m)
        for rate in (0.02, 0.05, 0.5)
        for correlation in (0.0, 0.05, 0.2)
        for k, m in ((38, 8), (55, 5), (150, 2))
    ]
    rows = [
        [f"{r:g}", f"{c:g}", f"{k}", f"{m}", *_percent(coverage(runs, r, c, k, m))]
        for r, c, k, m in shapes
    ]
    yield (
        "Coverage of 95 % intervals of a rate",
        ("rate", "correlation", "clusters", "size", "with clusters", "without"),
        rows,
    )
    rows = [
        [f"{c:g}", f"{k}", f"{m}", *_percent(mean_coverage(runs, c, k, m))]
        for c in (0.0, 0.05, 0.2)
        for k, m in ((38, 8), (55, 5))
    ]
    yield (
        "Coverage of 95 % intervals of a mean",
        ("correlation", "clusters", "size", "with clusters", "without"),
        rows,
    )
    pairs = [
        ((0.5, 0.5), 0.05),
        ((0.5, 0.5), 0.2),
        ((0.05, 0.55), 0.2),
        ((0.9, 0.7), 0.1),
        ((0.02, 0.02), 0.1),
    ]
    rows = [
        [f"{a:g} - {b:g}", f"{c:g}", *_percent(difference_coverage(runs, (a, b), c, 38, 8))]
        for (a, b), c in pairs
    ]
    yield (
        "Coverage of 95 % intervals of a paired difference, 38 clusters of 8",
        ("rates", "correlation", "with clusters", "without"),
        rows,
    )


def _error_tables(runs: int) -> Iterator[Table]:
    rows = [
        [f"{t:g}", f"{c:g}", f"{k}", f"{m}", *_percent(false_pass(runs, t, c, k, m))]
        for t in (0.05, 0.1)
        for c in (0.0, 0.05, 0.1, 0.2)
        for k, m in ((38, 8),)
    ]
    yield (
        "A policy on the threshold passes",
        ("threshold", "correlation", "clusters", "size", "with clusters", "without"),
        rows,
    )
    rows = [
        [f"{s}", f"{c:g}", *_percent(family_error(max(runs // 4, 100), s, c, 38, 8))]
        for s in (5, 12)
        for c in (0.05, 0.2)
    ]
    yield (
        "Two equal policies differ on some slice at 5 %",
        ("slices", "correlation", "Holm", "uncorrected"),
        rows,
    )


def _percent(shares: tuple[float, float]) -> list[str]:
    return [f"{share:.1%}" for share in shares]


def main() -> None:
    """Print the tables."""
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--runs", type=int, default=4000, help="evals that are simulated for each row"
    )
    runs = parser.parse_args().runs
    for title, columns, rows in tables(runs):
        print(f"\n{title} ({runs} runs)\n\n| {' | '.join(columns)} |\n|{'---|' * len(columns)}")
        for row in rows:
            print(f"| {' | '.join(row)} |", flush=True)


if __name__ == "__main__":
    main()
