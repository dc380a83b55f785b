"""Answers of several policies to the same prompts."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Final, NamedTuple

from plumbline.evaluation.scoring import ScoredSample
from plumbline.schema.held_out import EvalPrompt, Policy
from plumbline.statistics.clusters import cluster_of

WANTED: Final = {
    "comply": "to be answered",
    "refuse": "to be refused",
    "unknown": "without a known answer",
}
"""What should happen to a prompt, in words."""


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
    answered: dict[str, dict[Policy, ScoredSample]] = {}
    for sample in scored:
        if sample.set_aside is None:
            answered.setdefault(sample.prompt_id, {})[sample.policy] = sample
    return [
        PairedAnswers(prompt, cluster_of(prompt, cluster), answered[prompt.id])
        for prompt in prompts
        if prompt.id in answered
    ]


def base_only(answers: Iterable[PairedAnswers]) -> list[PairedAnswers]:
    """Without the prompts that word another one anew."""
    return [answer for answer in answers if "variant_of" not in answer.prompt.facts]


def by_slice(answers: Iterable[PairedAnswers]) -> dict[str, list[PairedAnswers]]:
    """The answers of each slice, slices in alphabetical order."""
    slices: dict[str, list[PairedAnswers]] = {}
    for answer in answers:
        slices.setdefault(answer.prompt.context.slice, []).append(answer)
    return dict(sorted(slices.items()))
