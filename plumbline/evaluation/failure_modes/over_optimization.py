"""The over-optimization curve: what is gained in reward, and what in judged quality, by taking the
best of n responses of the reference.

Source: Gao, Schulman and Hilton 2023, "Scaling Laws for Reward Model Overoptimization", section 3.
The best of n responses by the **proxy** (the reward model) lies at most log n - (n - 1) / n nats
from the policy that drew them. Where the **gold** score (the scorer's judged quality) falls while
the proxy rises, more optimization against this reward model makes the policy worse.

From N draws the best of every smaller n is estimated without new ones: the i-th smallest of the N
rewards is the best of a random n of them with probability C(i - 1, n - 1) / C(N, n), so each prompt
gives an unbiased value for every n.
"""

import math
from collections import Counter
from collections.abc import Mapping, Sequence

from pydantic import Field

from plumbline.errors import InsufficientEvidence
from plumbline.evaluation.quality import quality
from plumbline.evaluation.scorers import Scorer
from plumbline.records import Record
from plumbline.schema.estimates import Estimate
from plumbline.schema.held_out import BestOfDraws, EvalPrompt
from plumbline.schema.identifiers import Identifier
from plumbline.statistics.clusters import cluster_of
from plumbline.statistics.intervals import mean


class CurvePoint(Record):
    """What the best of n responses is worth, as a mean over the prompts."""

    n: int = Field(ge=1, description="responses of which the one with the highest reward is taken")
    kl: float = Field(ge=0, description="divergence from the reference, nats; see `kl_of_best_of`")
    proxy: Estimate = Field(description="reward")
    gold: Estimate = Field(description="judged quality, the higher the better")
    tokens: Estimate = Field(description="sampled tokens")


class OverOptimization(Record):
    """Proxy and gold along the curve; gains are the best of all draws against one draw on the same
    prompts."""

    gold_metric: Identifier = Field(
        description=(
            "metric that the gold score comes from; `right` where it is whether the response is"
            " right"
        )
    )
    prompts: int = Field(gt=0)
    draws: int = Field(gt=1, description="responses to each prompt")
    points: tuple[CurvePoint, ...] = Field(min_length=2)
    proxy_gain: Estimate
    gold_gain: Estimate
    tokens_gain: Estimate
    slices: dict[Identifier, int] = Field(description="prompts of each slice")


def kl_of_best_of(n: int) -> float:
    """Divergence of the best of n from the policy that draws, in nats: log n - (n - 1) / n (an
    upper bound, Beirami et al. 2024)."""
    if n < 1:
        raise ValueError(f"the best of {n} responses does not exist")
    return math.log(n) - (n - 1) / n


def best_of_value(ranked: Sequence[float], n: int) -> float:
    """Mean of a value of the best of n, over all choices of n draws.

    Args:
        ranked: The value of every draw, the draws in ascending order of reward.
        n: At most as many as there are draws.
    """
    # the draw at this place is the best of n when the other n - 1 all stand before it
    total = math.comb(len(ranked), n)
    return math.fsum(
        math.comb(position, n - 1) / total * value
        for position, value in enumerate(ranked)
        if position >= n - 1
    )


def over_optimization(
    draws: Sequence[BestOfDraws],
    prompts: Sequence[EvalPrompt],
    scorer: Scorer,
    confidence_level: float,
    *,
    cluster: str | None = None,
) -> OverOptimization | None:
    """The curve at n = 1, 2, 4, ... up to all draws; None without draws, or when fewer than two
    prompts could be judged.

    A prompt of which one draw could not be judged counts as unscored: leaving the draw out would
    change what it is the best of.

    Args:
        draws: Responses of the reference with their rewards, equally many for each prompt.
        prompts: The held-out prompts; draws of others, for example of prompts that were set aside,
            are passed over.
        scorer: Judges each response.
        confidence_level: Two-sided confidence level.
        cluster: Fact of a prompt that names what it is about.
    """
    known = {prompt.id: prompt for prompt in prompts}
    kept = [drawn for drawn in draws if drawn.prompt_id in known]
    judged = [_ranked(drawn, known[drawn.prompt_id], scorer) for drawn in kept]
    metrics = {metric for _, metric in judged if metric is not None}
    if not metrics:
        return None
    clusters = [cluster_of(known[drawn.prompt_id], cluster) for drawn in kept]
    if "utility" in metrics:  # a utility and a yes or no do not add up
        metrics = {"utility"}
    rows = [values if metric in metrics else {**values, "gold": None} for values, metric in judged]
    sizes = _sizes(min(len(drawn.rewards) for drawn in kept))
    table = {n: [_best(row, n) for row in rows] for n in sizes}
    first, last = table[1], table[sizes[-1]]
    try:
        return OverOptimization(
            gold_metric=next(iter(metrics)) if len(metrics) == 1 else "right",
            prompts=len(kept),
            draws=sizes[-1],
            points=tuple(
                CurvePoint(
                    n=n,
                    kl=kl_of_best_of(n),
                    **{
                        name: mean([row[name] for row in table[n]], confidence_level, clusters)
                        for name in ("proxy", "gold", "tokens")
                    },
                )
                for n in sizes
            ),
            **{
                f"{name}_gain": mean(_gains(first, last, name), confidence_level, clusters)
                for name in ("proxy", "gold", "tokens")
            },
            slices=dict(sorted(Counter(drawn.slice for drawn in kept).items())),
        )
    except InsufficientEvidence:
        return None


_Row = Mapping[str, Sequence[float] | None]


def _ranked(draws: BestOfDraws, prompt: EvalPrompt, scorer: Scorer) -> tuple[_Row, str | None]:
    """Reward, judged quality and tokens of the draws in ascending order of reward, and the metric
    of the quality."""
    order = sorted(range(len(draws.rewards)), key=lambda i: draws.rewards[i])
    qualities = [quality(scorer(prompt, draws.responses[i]).metrics) for i in order]
    gold = [float(judged.value) for judged in qualities if judged is not None]
    whole = len(gold) == len(qualities)
    metric = (
        next((judged.metric for judged in qualities if judged is not None), None) if whole else None
    )
    return {
        "proxy": [draws.rewards[i] for i in order],
        "gold": gold if whole else None,
        "tokens": [float(draws.tokens[i]) for i in order],
    }, metric


def _best(row: _Row, n: int) -> dict[str, float | None]:
    return {
        name: None if values is None else best_of_value(values, n) for name, values in row.items()
    }


def _gains(
    first: Sequence[Mapping[str, float | None]],
    last: Sequence[Mapping[str, float | None]],
    name: str,
) -> list[float | None]:
    sides = [(before[name], after[name]) for before, after in zip(first, last, strict=True)]
    return [None if before is None or after is None else after - before for before, after in sides]


def _sizes(draws: int) -> list[int]:
    powers = [2**exponent for exponent in range(draws.bit_length()) if 2**exponent < draws]
    return [*powers, draws]
