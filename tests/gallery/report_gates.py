"""The gates on what was measured: complete samples, the release gates of the profile, and the named
checks."""

from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager

from plumbline.data.quality.agreement import agreement
from plumbline.data.quality.agreement_report import AgreementReport
from plumbline.errors import DataError
from plumbline.evaluation.failure_modes.over_optimization import over_optimization
from plumbline.evaluation.failure_modes.pressures import PressureEvidence, five_pressures
from plumbline.evaluation.report import build_report
from plumbline.evaluation.scorers import scorer_of
from plumbline.evaluation.scoring import ScoredSample
from plumbline.evaluation.vault.leaks import leak_check, leaks
from plumbline.records import sha256
from plumbline.release.clauses import uncovered_clauses
from plumbline.release.decision import Decision, decide
from plumbline.schema.checks import PRESSURES, CheckVerdict
from plumbline.schema.conversations import Message
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.held_out import Policy, Sample
from plumbline.schema.kinds import ACCEPTED_FILE
from plumbline.statistics import paired_tests
from plumbline.storage.jsonl import read_records
from tests.gallery.data_gates import (
    Found,
    batch,
    build,
    demonstration_certificate,
    moved,
    preference_certificate,
    training_pairs,
)
from tests.gallery.judge_gates import judging_checks
from tests.gallery.policies import Behaviour, best_of, samples
from tests.gallery.worlds import World, once, stage

FEEDBACK = ("events", "rubric", "now", "profile", "vault", "pairs", "previous")
SAMPLED = ("vault", "reference", "aligned", "champion", "seed", "sampling")
TRAINED = ("demonstrations", "trained_before")
JUDGED = ("verdicts", "reward_model")
EVALUATED = tuple(dict.fromkeys((*FEEDBACK, *SAMPLED, *TRAINED, *JUDGED)))
CHAMPION = sha256(b"the policy of the last release")
RESAMPLES = 49
"""Resamples of the bootstrap behind the p-values of a report, which no gate reads."""


@contextmanager
def _few_resamples() -> Iterator[None]:
    usual = paired_tests.RESAMPLES
    paired_tests.RESAMPLES = RESAMPLES
    try:
        yield
    finally:
        paired_tests.RESAMPLES = usual


@stage(*SAMPLED)
def drawn(world: World) -> tuple[Sample, ...]:
    """The samples of every policy."""
    policies: dict[Policy, Behaviour] = {"reference": world.reference, "aligned": world.aligned}
    if world.champion is not None:
        policies["champion"] = world.champion
    made = samples(policies, world.vault, world.seed)
    return world.sampling(made) if world.sampling else made


@stage(*FEEDBACK, *TRAINED)
def leaked(world: World) -> tuple[dict[str, str], CheckVerdict]:
    """Held-out prompts that the policy was trained on, and the check about them."""
    pairs = (pair.prompt for side in training_pairs(world).values() for pair in side)
    trained: list[tuple[Message, ...]] = [
        *pairs,
        *(one.prompt for one in world.demonstrations),
        *world.trained_before,
    ]
    found = leaks(trained, world.vault, world.profile.preferences.contamination)
    return found, leak_check(found, world.vault, len(trained), world.profile.vault)


def measured(world: World) -> tuple[EvalReport, list[ScoredSample]] | str:
    """The eval report with the scored samples, or why there is none."""
    answers, champion = drawn(world), None if world.champion is None else CHAMPION
    aside = tuple(sorted(leaked(world)[0].items()))
    return once(
        lambda: _report(world, answers, champion, dict(aside)),
        (world.vault, answers),
        "report",
        champion,
        aside,
        world.seed,
    )


def _report(
    world: World, answers: tuple[Sample, ...], champion: str | None, aside: dict[str, str]
) -> tuple[EvalReport, list[ScoredSample]] | str:
    evaluation, cluster = world.profile.evaluation, world.profile.vault.cluster
    given = (
        world.vault,
        answers,
        evaluation.scorer,
        evaluation.level,
        world.seed,
        evaluation.decoder,
    )
    with _few_resamples():
        try:
            return build_report(*given, cluster=cluster, champion=champion, set_aside=aside)
        except DataError as error:
            return str(error)


@stage("events", "rubric", "now", "profile")
def agreed(world: World) -> AgreementReport:
    """How far the annotators agree."""
    return agreement(
        read_records(batch(world).folder / ACCEPTED_FILE, FeedbackEvent),
        world.profile.evaluation.level,
        world.seed,
    )


@stage(*EVALUATED)
def checks(world: World) -> tuple[CheckVerdict, ...]:
    """The named checks that are made beside the report."""
    found = measured(world)
    if isinstance(found, str):
        return ()
    (report, scored), profile = found, world.profile
    base = [prompt for prompt in world.vault if "variant_of" not in prompt.facts]
    draws = best_of(world.reference, base, profile.pressures.best_of, world.seed)
    evidence = PressureEvidence(
        report=report,
        prompts=world.vault,
        scored=scored,
        curve=over_optimization(
            draws, world.vault, scorer_of(report.scorer), report.level, cluster=report.cluster
        ),
        agreement=agreed(world),
        waiting=build(world)[1]["pairs to adjudicate"],
        drift=moved(world),
        training_locales=Counter(pair.context.locale for pair in training_pairs(world)["train"]),
    )
    return (
        *five_pressures(evidence, profile.pressures),
        leaked(world)[1],
        uncovered_clauses(world.rubric, profile.gates),
        *judging_checks(world),
    )


@stage(*EVALUATED)
def decision(world: World) -> Decision | None:
    """The release decision; None where it was never made, because the data were refused or the
    report was."""
    found = measured(world)
    if (
        isinstance(found, str)
        or preference_certificate(world)[0].problems()
        or demonstration_certificate(world)[0].problems()
    ):
        return None
    inputs = {"held_out_evals": sha256(b"evals"), "aligned_policy": sha256(b"policy")}
    named = {"recipe": world.profile.candidate, "profile": world.profile.digest()}
    return decide(world.profile.gates, found[0], checks(world), inputs=inputs, **named)


def report(world: World) -> Found:
    """The report is refused unless every prompt has one sample of each policy."""
    found = measured(world)
    return {"eval report": found if isinstance(found, str) else None}


def gates(world: World) -> Found:
    """Every gate of the profile, on the bounds of its interval, and every named check."""
    names = (*PRESSURES, "vault-leak", "clauses", "guardrail", "judge-reward-model")
    found: Found = {f"gate: {gate.id}": None for gate in world.profile.gates} | {
        f"check: {name}": None for name in names
    }
    decided = decision(world)
    if decided is not None:
        found |= {
            f"gate: {one.gate.id}": (
                None if one.verdict == "pass" else f"{one.verdict}: {one.explanation}"
            )
            for one in decided.gates
        }
        found |= {
            f"check: {one.name}": (
                None if one.verdict == "pass" else f"{one.verdict}: {one.explanation}"
            )
            for one in decided.checks
        }
    return found
