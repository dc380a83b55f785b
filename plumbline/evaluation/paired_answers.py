"""Answers of several policies to the same prompts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from plumbline.evaluation.scoring import ScoredSample
from plumbline.schema.prompts import EvalPrompt
from plumbline.schema.samples import Policy
from plumbline.statistics.clusters import cluster_of


class PairedAnswers(NamedTuple):
    """What the policies answered to one prompt."""

    prompt: EvalPrompt
    cluster: str
    """What the prompt is about, see `plumbline.statistics.clusters`."""
    by_policy: Mapping[Policy, ScoredSample]

    def outcome(self, policy: Policy, metric: str) -> bool | None:
        """A yes-or-no metric of one policy's answer; None where it does not apply, could not be
        scored, or the policy gave none."""
        sample = self.by_policy.get(policy)
        value = None if sample is None else sample.metrics.get(metric)
        return None if value is None else value == 1


def pair_answers(
    prompts: Sequence[EvalPrompt], scored: Iterable[ScoredSample], cluster: str | None
) -> list[PairedAnswers]:
    """The answers to every prompt, in the order of the prompts; what was set aside is left out.

    Args:
        prompts: The held-out prompts.
        scored: Scored samples of all policies.
        cluster: Fact of a prompt that names what it is about.
    """
    found: dict[str, dict[Policy, ScoredSample]] = {}
    for one in scored:
        if one.set_aside is None:
            found.setdefault(one.prompt_id, {})[one.policy] = one
    return [
        PairedAnswers(prompt, cluster_of(prompt, cluster), found[prompt.id])
        for prompt in prompts
        if prompt.id in found
    ]


def base_only(answers: Iterable[PairedAnswers]) -> list[PairedAnswers]:
    """Without the prompts that word another one anew."""
    return [one for one in answers if "variant_of" not in one.prompt.facts]


def by_slice(answers: Iterable[PairedAnswers]) -> dict[str, list[PairedAnswers]]:
    """The answers of each slice, slices in alphabetical order."""
    found: dict[str, list[PairedAnswers]] = {}
    for one in answers:
        found.setdefault(one.prompt.context.slice, []).append(one)
    return dict(sorted(found.items()))
