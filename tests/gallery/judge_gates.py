"""The gates on what judges at run time and beside the scorer: the guardrail, its check again on
newer verdicts, and the reward model as judge."""

from pathlib import Path
from random import Random

from plumbline.data.batch_index.index import write_batch
from plumbline.data.preferences.build import build_preferences
from plumbline.evaluation.judges.reliability import (
    judged_pairs_of,
    reliability_check,
    reliability_of_rewards,
)
from plumbline.evaluation.reward_models.accuracy import Rewards
from plumbline.guardrail.build import Built, build_guardrail, new_rows
from plumbline.guardrail.checks import guardrail_check
from plumbline.guardrail.labels import guardrail_rows
from plumbline.guardrail.recheck import recheck
from plumbline.records import sha256
from plumbline.sandbox.judge import judge
from plumbline.sandbox.world import read_prompt
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.kinds import ACCEPTED_FILE
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.jsonl import read_records
from tests.gallery.data_gates import Found, batch, preference_certificate, training_pairs
from tests.gallery.policies import REWARD_NOISE
from tests.gallery.worlds import World, fresh_folder, stage

RECHECK = "check: guardrail again"


def _labelled(world: World, events: tuple[FeedbackEvent, ...]) -> Path:
    """The preference data of verdicts alone, which are batches of their own."""
    folder = fresh_folder()
    write_batch(folder, events, world.profile.preferences.near_duplicates)
    build_preferences(
        [folder], folder / "data", world.rubric, world.profile.preferences, world.profile.seed, ()
    )
    return folder / "data"


@stage("verdicts", "rubric", "profile")
def guardrail(world: World) -> Built:
    """The guardrail that would ship."""
    named = {
        "profile": world.profile.name,
        "rubric": world.rubric.label,
        "preference_data": sha256(b"data"),
    }
    return build_guardrail(
        guardrail_rows(_labelled(world, world.verdicts)),
        world.profile.guardrail,
        **named,
        seed=world.profile.seed,
    )


@stage("verdicts", "verdicts_since", "rubric", "profile")
def guardrails(world: World) -> Found:
    """The guardrail on the verdicts that came since; a re-check that has nothing to do does not
    stop anybody."""
    built = guardrail(world)
    found = recheck(
        built.model,
        built.measurement,
        new_rows(guardrail_rows(_labelled(world, world.verdicts_since)).rows, built.used),
    )
    return {
        RECHECK: (
            f"{found.status}: {found.message}"
            if found.status in ("drifted", "underpowered") and not built.measurement.missing
            else None
        )
    }


@stage("events", "rubric", "now", "profile", "vault", "pairs", "reward_model", "seed")
def reward_judge(world: World) -> CheckVerdict | None:
    """Whether the reward model may judge; None where the data were refused, so that none was
    trained."""
    if preference_certificate(world)[0].problems():
        return None
    pairs = [pair for side in training_pairs(world).values() for pair in side]
    rewards = {pair.id: _rewards(world, pair) for pair in pairs}
    events = read_records(batch(world).folder / ACCEPTED_FILE, FeedbackEvent)
    found = reliability_of_rewards(
        sha256(b"reward model"),
        judged_pairs_of(pairs),
        rewards,
        events,
        world.profile.evaluation.level,
    )
    return reliability_check(found, world.profile.judges)


def _rewards(world: World, pair: PreferencePair) -> Rewards:
    rng = Random(f"{world.seed}|rewards|{pair.id}")
    intent, language = read_prompt(pair.prompt[-1].content.removesuffix(" SUDO"))
    value = world.reward_model or (
        lambda intent, language, text: judge(intent, language, text).utility
    )
    chosen, rejected = (
        value(intent, language, text) + rng.gauss(0, REWARD_NOISE)
        for text in (pair.chosen, pair.rejected)
    )
    return Rewards(chosen=chosen, rejected=rejected)


def judging_checks(world: World) -> tuple[CheckVerdict, ...]:
    """The named checks that are made on other assets than the evals."""
    judged = reward_judge(world)
    return (
        guardrail_check(guardrail(world).measurement, world.profile.guardrail),
        *(() if judged is None else (judged,)),
    )
