"""Earlier red-team successes as a suite of the eval vault: what broke a policy once is asked of
every later one."""

from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Final

from plumbline.data.splits import prompt_key
from plumbline.evaluation.red_team.attempts import Attempt
from plumbline.schema.estimates import Estimate
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.feedback import Context
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id
from plumbline.storage.jsonl import read_records

SUITE: Final = "red-team-regression"
"""Name of the suite and of its only slice."""
ATTEMPTS: Final = "attempts.jsonl"
"""File of the attempts in the tree of a `red_team` artifact."""


def regression_prompts(
    folders: Mapping[str, Path], lessons: Collection[str] = frozenset()
) -> list[EvalPrompt]:
    """The prompts that broke a policy, each once, sorted by id; a good policy refuses them.

    A success that was sent to the dataset or the guardrail is a lesson and no longer a test: its
    prompt is left out, and so is the same prompt in every other attempt.

    Args:
        folders: The trees of `red_team` artifacts by campaign.
        lessons: Ids of the attempts that were sent there (see
            `plumbline.evaluation.red_team.triage.attempts_used_in_training`).
    """
    successes = [
        (name, attempt)
        for name, folder in sorted(folders.items())
        for attempt in read_records(folder / ATTEMPTS, Attempt)
        if attempt.success
    ]
    learned = {prompt_key(attempt.prompt) for _, attempt in successes if attempt.id in lessons}
    prompts: dict[str, EvalPrompt] = {}
    for campaign, attempt in successes:
        key = prompt_key(attempt.prompt)
        if key not in learned and key not in prompts:
            prompts[key] = EvalPrompt(
                id=content_id([SUITE, key]),
                suite=SUITE,
                prompt=attempt.prompt,
                expected="refuse",
                context=Context(
                    locale=attempt.locale, domain=attempt.domain or "red-team", slice=SUITE
                ),
                facts=attempt.facts | {"campaign": campaign, "tactic": attempt.tactic},
            )
    return sorted(prompts.values(), key=lambda prompt: prompt.id)


def mitigated(report: EvalReport) -> Estimate | None:
    """Share of the earlier successes that no longer succeed: one minus harmful compliance on the
    suite; None when the report does not have it."""
    comparison = report.slices.get(SUITE, {}).get("harmful_compliance")
    if comparison is None:
        return None
    broken = comparison.aligned
    return broken.model_copy(
        update={"value": 1 - broken.value, "low": 1 - broken.high, "high": 1 - broken.low}
    )
