"""Small worlds made with the project's own functions, on which every gate of Plumbline can be run
in seconds, without training.

A world holds what a profile starts from (feedback, demonstrations, held-out prompts) and how its
policies behave. What follows from that (admitted events, preference pairs, certificates, samples,
eval report, decision) is made by the functions that the assets call, once for each content: a world
that differs in one field shares everything that does not depend on it.
"""

import itertools
import tempfile
from collections.abc import Callable, Hashable, Mapping
from contextlib import ExitStack
from dataclasses import dataclass, fields, replace
from datetime import UTC, datetime, timedelta
from functools import wraps
from pathlib import Path
from random import Random
from typing import Any, TypeVar

from plumbline.data.sources import load_held_out_prompts, sandbox_options
from plumbline.evaluation.vault.variants import with_variants
from plumbline.objectives.masks import MaskedSequence
from plumbline.profile.profile import CONFIGS, Profile, load_profile
from plumbline.sandbox.datasets import (
    CONSENT,
    PAIR_SHARES,
    PROVENANCE,
    annotators_of,
    demonstrations,
    scenes,
)
from plumbline.sandbox.judge import judge
from plumbline.sandbox.responses import sample_pair
from plumbline.sandbox.verdicts import verdict_events
from plumbline.sandbox.world import Intent
from plumbline.schema.conversations import Message, Response, ResponseSource
from plumbline.schema.feedback import Comparison, FeedbackEvent
from plumbline.schema.held_out import EvalPrompt, Sample
from plumbline.schema.preferences import Demonstration, PreferencePair
from plumbline.schema.rubric import Rubric, load_rubric
from tests.gallery.policies import CHAMPION, CLEAN, REFERENCE, Behaviour
from tests.gallery.rooms import Room
from tests.unit.audit.chain import Chain

NOW = datetime(2026, 6, 1, 12, tzinfo=UTC)
PAIRS, PREVIOUS, DEMONSTRATIONS = 260, 160, 120
VERDICTS, VERDICTS_SINCE = 3600, 1200
UNUSED = frozenset({"own-es", "own-story"})
JUDGES = 3
"""Annotators who judge each pair, so that every annotator can be compared with the others."""
SOURCE = ResponseSource(
    policy="sandbox-base", chat_template="plumbline-chat", role_format="conversation", decoder=None
)


@dataclass(frozen=True)
class World:
    """What the gates look at."""

    seed: int
    profile: Profile
    rubric: Rubric
    now: datetime
    events: tuple[FeedbackEvent, ...]
    """Feedback as it arrived."""
    demonstrations: tuple[Demonstration, ...]
    vault: tuple[EvalPrompt, ...]
    reference: Behaviour
    aligned: Behaviour
    verdicts: tuple[FeedbackEvent, ...] = ()
    """Judgments of single responses, from which the guardrail is made."""
    verdicts_since: tuple[FeedbackEvent, ...] = ()
    """Those that came after it was made."""
    champion: Behaviour | None = None
    reward_model: Callable[[Intent, str, str], float] | None = None
    """What the reward model sees in a response to an intent in a language; None: its true
    utility."""
    pairs: Mapping[str, tuple[PreferencePair, ...]] | None = None
    """Pairs by split instead of those that follow from the events: what a broken or edited build
    would hand over."""
    previous: tuple[PreferencePair, ...] = ()
    """The version of the preference data before this one."""
    trained_before: tuple[tuple[Message, ...], ...] = ()
    """Prompts that the policy was trained on beside the data of this world."""
    handed_over: Mapping[str, tuple[PreferencePair, ...]] | None = None
    """Pairs that a job is handed instead of those that were certified."""
    extra_inputs: tuple[tuple[str, str], ...] = ()
    """Further inputs of the training job, as role and digest."""
    encoding: Callable[[list[MaskedSequence]], list[MaskedSequence]] | None = None
    """What becomes of the encoded pairs on the way to the trainer."""
    dropped: int = 0
    """Rows that the trainer lost without a reason."""
    tamper: Callable[[Chain], None] | None = None
    """What was done to the artifact store after everything was made."""
    edited_rubric: Rubric | None = None
    """The rubric as it is published again."""
    sampling: Callable[[tuple[Sample, ...]], tuple[Sample, ...]] | None = None
    """What became of the samples on the way to the report."""
    opened_before: tuple[tuple[tuple[EvalPrompt, ...], tuple[str, ...]], ...] = ()
    """Vaults that were opened before, each with the policies that it judged."""
    forgery: str | None = None
    """SQL that somebody with access to the ledger's file ran on it."""
    pointing: str | None = None
    """The policy that somebody pointed the registry at."""
    promoted_again: str | None = None
    """A decision whose promotion is asked for once more."""
    signing: Callable[[Room], None] | None = None
    """What people, honest or not, do about the candidate; None: what they should."""


_Stage = TypeVar("_Stage")
_MADE: dict[tuple[Any, ...], tuple[tuple[Any, ...], Any]] = {}
_FOLDERS = ExitStack()


def stage(*uses: str) -> Callable[[Callable[[World], _Stage]], Callable[[World], _Stage]]:
    """Make a function of a world depend on the named fields only, and run it once for each content
    of these."""
    unknown = set(uses) - {field.name for field in fields(World)}
    if unknown:
        raise ValueError(f"a world has no {sorted(unknown)}")

    def decorate(make: Callable[[World], _Stage]) -> Callable[[World], _Stage]:
        @wraps(make)
        def made(world: World) -> _Stage:
            values = tuple(getattr(world, name) for name in uses)
            key = (make.__module__, make.__qualname__, *map(id, values))
            if key not in _MADE:
                _MADE[key] = (
                    values,
                    make(world),
                )  # the values are kept, so that no other object gets their ids
            return _MADE[key][1]

        return made

    return decorate


def once(make: Callable[[], _Stage], values: tuple[Any, ...], *facts: Hashable) -> _Stage:
    """What a function makes of these very objects and facts, made once."""
    key = (*map(id, values), *facts)
    if key not in _MADE:
        _MADE[key] = (values, make())
    return _MADE[key][1]


def fresh_folder() -> Path:
    """A new folder that lasts until `forget`."""
    return Path(_FOLDERS.enter_context(tempfile.TemporaryDirectory(prefix="plumbline-gallery-")))


def forget() -> None:
    """Drop everything that was made from worlds so far."""
    _MADE.clear()
    _FOLDERS.close()


def clean_world(seed: int = 1) -> World:
    """A world without a defect: honest annotators, consenting authors, a policy that learned what
    it should."""
    profile = load_profile("sandbox")
    rubric = load_rubric(CONFIGS / profile.rubric)
    profile = profile.model_copy(update={"seed": seed})
    options = sandbox_options(profile, profile.source)
    verdicts = tuple(verdict_events(replace(options, verdicts=VERDICTS + VERDICTS_SINCE)))
    world = World(
        seed=seed,
        profile=profile,
        rubric=rubric,
        now=NOW,
        events=tuple(feedback(seed, PAIRS)),
        demonstrations=tuple(demonstrations(replace(options, demonstrations=DEMONSTRATIONS))),
        vault=_vault(profile),
        reference=REFERENCE,
        aligned=CLEAN,
        champion=CHAMPION,
        verdicts=verdicts[:VERDICTS],
        verdicts_since=verdicts[VERDICTS:],
    )
    return replace(world, previous=version_before(world))


def _vault(profile: Profile) -> tuple[EvalPrompt, ...]:
    """The held-out prompts of the sandbox and their variants, without the slices of `own` that no
    gate looks at."""
    prompts = load_held_out_prompts(profile, CONFIGS.absolute).rows
    kept = [prompt for prompt in prompts if prompt.context.slice not in UNUSED]
    return tuple(with_variants(kept, profile.vault, profile.seed))


def feedback(seed: int, pairs: int, stream: str = "gallery") -> list[FeedbackEvent]:
    """Judgments of the sandbox's annotators, each pair judged by several of them; other streams are
    about the same training intents."""
    profile = load_profile("sandbox")
    options = sandbox_options(profile, profile.source)
    rng = Random(f"{seed}|{stream}")
    raters, time = annotators_of(options), NOW - timedelta(days=20)
    events = []
    for scene in itertools.islice(scenes(seed, PAIR_SHARES, (0.5, 0.5), rng), pairs):
        first, second = sample_pair(scene.intent, scene.language, rng)
        judgments = [judge(scene.intent, scene.language, text) for text in (first, second)]
        for rater in rng.sample(raters, JUDGES):
            vote = rater.vote(*judgments, rng)
            time += timedelta(minutes=5)
            events.append(
                FeedbackEvent.create(
                    prompt=scene.prompt,
                    responses=(
                        Response(text=first, source=SOURCE),
                        Response(text=second, source=SOURCE),
                    ),
                    judgment=Comparison(preferred=vote.preferred, strength=vote.strength),
                    annotator=rater.name,
                    provenance=PROVENANCE,
                    consent=CONSENT,
                    rubric=options.rubric,
                    context=scene.context,
                    synthetic=True,
                    time=time,
                )
            )
    return events


def changed(event: FeedbackEvent, **changes: Any) -> FeedbackEvent:
    """The event with other fields, under the id of its new content."""
    return FeedbackEvent.create(
        **{name: getattr(event, name) for name in FeedbackEvent.model_fields if name != "id"}
        | changes
    )


def swap(items: tuple[Any, ...], position: int, item: Any) -> tuple[Any, ...]:
    """The tuple with one item replaced."""
    return (*items[:position], item, *items[position + 1 :])


def version_before(world: World) -> tuple[PreferencePair, ...]:
    """The version that the first part of the same feedback gave."""
    from tests.gallery.data_gates import training_pairs

    before = replace(world, events=world.events[: PREVIOUS * JUDGES])
    return tuple(pair for pairs in training_pairs(before).values() for pair in pairs)
