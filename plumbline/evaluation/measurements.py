"""Measurements: what was found on each sample, metric by metric, and which samples belong together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from plumbline.data.schema import EvalPrompt
from plumbline.errors import DataError
from plumbline.evaluation.metrics import METRICS, Expected
from plumbline.evaluation.samples import Policy, Sample
from plumbline.evaluation.scorers import Scorer
from plumbline.evaluation.statistics import Number

POLICIES: tuple[Policy, ...] = ("reference", "aligned")


class ScoredSample(Sample):
    """A sample with what was expected and what the scorer made of it; a report can be recomputed from these."""

    expected: Expected
    metrics: dict[str, float | None] = Field(description="the scorer's metrics by name; null where one does not apply, or all when unscored")
    label: str
    unscored: str | None = Field(description="why the sample could not be scored; null when it could")


class Pair(NamedTuple):
    """What was measured on the two answers to one prompt: metrics that apply, by name; None where one could not be scored."""

    reference: dict[str, Number]
    aligned: dict[str, Number]


def score_samples(prompts: Sequence[EvalPrompt], samples: Sequence[Sample], scorer: Scorer) -> list[ScoredSample]:
    """The samples with their scores, in their order.

    Raises:
        DataError: If a prompt has no sample of a policy or several, or a sample belongs to no prompt; or if there are no prompts.
    """
    known = {prompt.id: prompt for prompt in prompts}
    _check_complete(prompts, samples, known)
    scored = []
    for sample in samples:
        prompt = known[sample.prompt_id]
        score = scorer(prompt, sample.response)
        scored.append(ScoredSample(**dict(sample), expected=prompt.expected, **dict(score)))
    return scored


def measure(scored: ScoredSample) -> dict[str, Number]:
    """Every metric that applies to one scored sample, by name; booleans for proportions, None where it could not be scored."""
    values: dict[str, Number] = {}
    for name, value in scored.metrics.items():
        if value is not None:
            values[name] = _as_outcome(name, value) if METRICS[name].kind == "proportion" else value
        elif scored.unscored is not None and scored.expected in METRICS[name].applies:
            values[name] = None
    values |= {"truncated": scored.truncated, "tokens": float(scored.tokens), "reward": scored.reward}
    if scored.policy == "aligned":
        values["kl"] = None if scored.logp is None or scored.reference_logp is None else scored.logp - scored.reference_logp
    return values


def pairs_by_slice(scored: Sequence[ScoredSample]) -> dict[str, list[Pair]]:
    """Both answers to every prompt, measured, by slice; prompts in the order in which they first come."""
    measured: dict[tuple[str, str], dict[Policy, dict[str, Number]]] = {}
    for one in scored:
        measured.setdefault((one.slice, one.prompt_id), {})[one.policy] = measure(one)
    pairs: dict[str, list[Pair]] = {}
    for (name, _), sides in measured.items():
        pairs.setdefault(name, []).append(Pair(sides["reference"], sides["aligned"]))
    return pairs


def count_labels(scored: Sequence[ScoredSample], pooled: Mapping[str, Sequence[str]]) -> dict[str, dict[Policy, dict[str, int]]]:
    """How often the scorer gave each label, by slice (pooled ones included) and policy."""
    counts: dict[str, dict[Policy, Counter[str]]] = {}
    for one in scored:
        for name in (one.slice, *(pool for pool, members in pooled.items() if one.slice in members)):
            counts.setdefault(name, {policy: Counter() for policy in POLICIES})[one.policy][one.label] += 1
    return {name: {policy: dict(sorted(labels.items())) for policy, labels in sides.items()} for name, sides in sorted(counts.items())}


def _as_outcome(name: str, value: float) -> bool:
    if value not in (0, 1):
        raise ValueError(f"metric '{name}' is a proportion: a sample scores 0 or 1 in it, not {value}")
    return value == 1


def _check_complete(prompts: Sequence[EvalPrompt], samples: Sequence[Sample], known: Mapping[str, EvalPrompt]) -> None:
    """Refuse unless every prompt has exactly one sample of each policy, and nothing is left over."""
    if not known:
        raise DataError("there are no held-out prompts to evaluate on; fill the eval vault")
    counts = Counter((sample.prompt_id, sample.policy) for sample in samples)
    wanted = {(prompt, policy) for prompt in known for policy in POLICIES}
    findings = {
        "prompts stand twice in the vault": [name for name, count in Counter(prompt.id for prompt in prompts).items() if count > 1],
        "samples are missing": [f"{prompt} ({policy})" for prompt, policy in sorted(wanted - counts.keys())],
        "samples stand twice": [f"{prompt} ({policy})" for (prompt, policy), count in sorted(counts.items()) if count > 1],
        "samples belong to no prompt of the vault": [prompt for prompt, _ in sorted(counts.keys() - wanted)],
        "samples name another slice than their prompt": [s.prompt_id for s in samples if s.prompt_id in known and s.slice != known[s.prompt_id].context.slice],
    }
    problems = [
        f"{len(names)} {what}: {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}" for what, names in findings.items() if names
    ]
    if problems:
        raise DataError(f"prompts and samples do not match: {'; '.join(problems)}. Sample both policies again on this vault.")
