"""Simulated annotators rate what the current policy itself says on the traffic of some days."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from random import Random
from typing import NamedTuple

from plumbline.profile.profile import Profile
from plumbline.sandbox.datasets import (
    CONSENT,
    JUDGES_PER_REPEATED,
    PROVENANCE,
    REPEATED_SHARE,
    SandboxOptions,
    Scene,
    annotators_of,
)
from plumbline.sandbox.judge import judge
from plumbline.sandbox.traffic import PROMPTS_PER_DAY, traffic
from plumbline.schema.conversations import Response, ResponseSource
from plumbline.schema.feedback import Comparison, FeedbackEvent
from plumbline.simulation.rollouts import Rollouts, SampledResponses, sample_rollouts


@dataclass(frozen=True)
class RatedPolicy:
    """The policy whose responses are rated."""

    digest: str
    """Digest of its artifact."""
    folder: str
    """Where its model is saved."""
    chat_template: str
    """Digest of its chat template."""


class RatedDay(NamedTuple):
    """One day of traffic."""

    start: datetime
    prompts: int
    same: int
    """Prompts that got one and the same response, or none: there is nothing to compare."""
    events: list[FeedbackEvent]


def rate_days(
    profile: Profile, options: SandboxOptions, policy: RatedPolicy, days: int, end: datetime
) -> Iterator[RatedDay]:
    """The judgments of the days before `end`, the earliest day first: the profile's annotators
    compare two responses of the policy to each prompt.

    Args:
        profile: Gives decoder and hardware.
        options: The knobs of its sandbox.
        policy: Whose responses are rated; all days ask the same policy.
        days: How many days.
        end: When the last day ends. The same arguments give the same judgments.
    """
    asked = traffic(options, days, f"{policy.digest}|{end.isoformat()}")
    decoder = profile.evaluation.decoder
    decoders = tuple(
        decoder.model_copy(update={"seed": decoder.seed + number}) for number in (1, 2)
    )
    answers = sample_rollouts(
        Rollouts(
            policy=policy.folder,
            hardware=profile.hardware,
            max_length=profile.model.max_length,
            batch_size=profile.evaluation.batch_size,
            decoders=decoders,
            prompts=tuple(scene.prompt for day in asked for scene in day),
        )
    )
    sources = [
        ResponseSource(
            policy=policy.digest,
            chat_template=policy.chat_template,
            role_format="conversation",
            decoder=decoder,
        )
        for decoder in decoders
    ]
    for number, day in enumerate(asked):
        start = end - timedelta(days=days - number)
        responses, answers = answers[: len(day)], answers[len(day) :]
        yield _rated(
            day,
            responses,
            sources,
            options,
            start,
            Random(f"{options.seed}|{policy.digest}|{start.isoformat()}"),
        )


def _rated(
    day: Sequence[Scene],
    responses: Sequence[SampledResponses],
    sources: Sequence[ResponseSource],
    options: SandboxOptions,
    start: datetime,
    rng: Random,
) -> RatedDay:
    raters = annotators_of(options)
    events, same = [], 0
    for number, (scene, answers) in enumerate(zip(day, responses, strict=True)):
        if len({text.strip() for text in answers.texts}) < 2 or not all(
            text.strip() for text in answers.texts
        ):
            same += 1
            continue
        first, second = (judge(scene.intent, scene.language, text) for text in answers.texts)
        judges = min(JUDGES_PER_REPEATED, len(raters)) if rng.random() < REPEATED_SHARE else 1
        for annotator in rng.sample(raters, judges):
            vote = annotator.vote(first, second, rng)
            events.append(
                FeedbackEvent.create(
                    prompt=scene.prompt,
                    responses=tuple(
                        Response(text=text, source=source)
                        for text, source in zip(answers.texts, sources, strict=True)
                    ),
                    judgment=Comparison(preferred=vote.preferred, strength=vote.strength),
                    annotator=annotator.name,
                    provenance=PROVENANCE,
                    consent=CONSENT,
                    rubric=options.rubric,
                    context=scene.context,
                    synthetic=True,
                    time=start + number * timedelta(days=1) / PROMPTS_PER_DAY,
                )
            )
    return RatedDay(start, len(day), same, events)
