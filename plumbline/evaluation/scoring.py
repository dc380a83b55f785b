"""Measurements: what was found on each sample, metric by metric, and which samples belong
together."""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from plumbline.errors import DataError
from plumbline.evaluation.scorers import Scorer
from plumbline.schema.held_out import EvalPrompt, Policy, Sample
from plumbline.schema.metrics import METRICS, Expected
from plumbline.statistics.clusters import cluster_of
from plumbline.statistics.intervals import Number

POLICIES: tuple[Policy, ...] = ("reference", "aligned")
"""Policies that answer every prompt; a released champion does where there is one."""


class ScoredSample(Sample):
    """A sample with what was expected and what the scorer made of it; a report can be recomputed
    from these."""

    expected: Expected
    metrics: dict[str, float | None] = Field(
        description=(
            "the scorer's metrics by name; null where one does not apply, or all when unscored"
        )
    )
    label: str
    unscored: str | None = Field(
        description="why the sample could not be scored; null when it could"
    )
    cluster: str | None = Field(
        default=None,
        description=(
            "what the prompt is about; prompts that share it are not independent; null: the prompt"
            " itself"
        ),
    )
    set_aside: str | None = Field(
        default=None,
        description=(
            "why the sample is in no estimate, although it was scored; null when it is in them"
        ),
    )


class Pair(NamedTuple):
    """What was measured on the answers to one prompt: metrics that apply, by name; None where one
    could not be scored."""

    reference: dict[str, Number]
    aligned: dict[str, Number]
    champion: dict[str, Number] | None
    """None where the champion did not answer."""
    cluster: str


def score_samples(
    prompts: Sequence[EvalPrompt],
    samples: Sequence[Sample],
    scorer: Scorer,
    *,
    cluster: str | None = None,
    champion: str | None = None,
    set_aside: Mapping[str, str] | None = None,
) -> list[ScoredSample]:
    """The samples with their scores, in their order.

    Args:
        prompts: The held-out prompts.
        samples: One sample of each policy for each prompt; a prompt that is set aside may have
            none.
        scorer: The scorer.
        cluster: Fact of a prompt that names what it is about.
        champion: Digest of the released champion. Its samples stand there for every prompt, or for
            none when it could not be sampled.
        set_aside: Prompt id to the reason why its samples leave every estimate.

    Raises:
        DataError: If a prompt has no sample of a policy or several, or a sample belongs to no
            prompt; or if there are no prompts.
    """
    known = {prompt.id: prompt for prompt in prompts}
    aside = set_aside or {}
    _check_complete(prompts, samples, known, champion, aside)
    if stray := sorted(aside.keys() - known.keys()):
        raise DataError(
            f"{len(stray)} prompts to be set aside are not in the vault, for example '{stray[0]}';"
            " look for leaks in this vault"
        )
    scored = []
    for sample in samples:
        prompt = known[sample.prompt_id]
        score = scorer(prompt, sample.response)
        about, reason = cluster_of(prompt, cluster), aside.get(prompt.id)
        scored.append(
            ScoredSample(
                **dict(sample),
                expected=prompt.expected,
                cluster=about,
                set_aside=reason,
                **dict(score),
            )
        )
    return scored


def measure(scored: ScoredSample) -> dict[str, Number]:
    """Every metric that applies to one scored sample, by name; booleans for proportions, None where
    it could not be scored."""
    values: dict[str, Number] = {}
    for name, value in scored.metrics.items():
        if value is not None:
            values[name] = _as_outcome(name, value) if METRICS[name].kind == "proportion" else value
        elif scored.unscored is not None and scored.expected in METRICS[name].applies:
            values[name] = None
    values |= {
        "truncated": scored.truncated,
        "tokens": float(scored.tokens),
        "reward": scored.reward,
    }
    if scored.policy != "reference":
        values["kl"] = (
            None
            if scored.logp is None or scored.reference_logp is None
            else scored.logp - scored.reference_logp
        )
    return values


def pairs_by_slice(scored: Sequence[ScoredSample]) -> dict[str, list[Pair]]:
    """The answers to every prompt that is not set aside, measured, by slice; prompts in the order
    in which they first come."""
    measured: dict[tuple[str, str, str], dict[Policy, dict[str, Number]]] = {}
    for sample in scored:
        if sample.set_aside is None:
            measured.setdefault(
                (sample.slice, sample.prompt_id, sample.cluster or f"prompt:{sample.prompt_id}"), {}
            )[sample.policy] = measure(sample)
    pairs: dict[str, list[Pair]] = {}
    for (name, _, cluster), sides in measured.items():
        pairs.setdefault(name, []).append(
            Pair(sides["reference"], sides["aligned"], sides.get("champion"), cluster)
        )
    return pairs


def count_labels(
    scored: Sequence[ScoredSample], pooled: Mapping[str, Sequence[str]]
) -> dict[str, dict[Policy, dict[str, int]]]:
    """How often the scorer gave each label, by slice (pooled ones included) and policy; samples
    that are set aside do not count."""
    counts: dict[str, dict[Policy, Counter[str]]] = {}
    for sample in scored:
        if sample.set_aside is None:
            for name in (
                sample.slice,
                *(pool for pool, members in pooled.items() if sample.slice in members),
            ):
                counts.setdefault(name, {}).setdefault(sample.policy, Counter())[sample.label] += 1
    return {
        name: {policy: dict(sorted(labels.items())) for policy, labels in sides.items()}
        for name, sides in sorted(counts.items())
    }


def _as_outcome(name: str, value: float) -> bool:
    if value not in (0, 1):
        raise ValueError(
            f"metric '{name}' is a proportion: a sample scores 0 or 1 in it, not {value}"
        )
    return value == 1


def _check_complete(
    prompts: Sequence[EvalPrompt],
    samples: Sequence[Sample],
    known: Mapping[str, EvalPrompt],
    champion: str | None,
    aside: Mapping[str, str],
) -> None:
    """Refuse unless every prompt has exactly one sample of each policy, and nothing is left over;
    one that is set aside may have none at all."""
    if not known:
        raise DataError("there are no held-out prompts to evaluate on; fill the eval vault")
    counts = Counter((sample.prompt_id, sample.policy) for sample in samples)
    compared = any(sample.policy == "champion" for sample in samples)
    if compared and champion is None:
        raise DataError(
            "there are samples of a champion, but nothing says which policy that is; name it, or"
            " sample the two others alone"
        )
    policies: tuple[Policy, ...] = (*POLICIES, "champion") if compared else POLICIES
    sampled = {prompt for prompt, _ in counts}
    wanted = {
        (prompt, policy)
        for prompt in known
        for policy in policies
        if prompt in sampled or prompt not in aside
    }
    findings = {
        "prompts stand twice in the vault": [
            name for name, count in Counter(prompt.id for prompt in prompts).items() if count > 1
        ],
        "samples are missing": [
            f"{prompt} ({policy})" for prompt, policy in sorted(wanted - counts.keys())
        ],
        "samples stand twice": [
            f"{prompt} ({policy})"
            for (prompt, policy), count in sorted(counts.items())
            if count > 1
        ],
        "samples belong to no prompt of the vault": [
            prompt for prompt, _ in sorted(counts.keys() - wanted)
        ],
        "samples name another slice than their prompt": [
            s.prompt_id
            for s in samples
            if s.prompt_id in known and s.slice != known[s.prompt_id].context.slice
        ],
    }
    problems = [
        f"{len(names)} {what}:"
        f" {', '.join(names[:3])}{f' and {len(names) - 3} more' if len(names) > 3 else ''}"
        for what, names in findings.items()
        if names
    ]
    if problems:
        raise DataError(
            f"prompts and samples do not match: {'; '.join(problems)}. Sample all policies again on"
            " this vault."
        )
