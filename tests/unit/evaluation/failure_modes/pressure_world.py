"""A held-out world whose scores are written into the responses: what a policy does on each slice is
a table, and the scorer reads it back."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import cache
from random import Random

from plumbline.data.quality.agreement import agreement
from plumbline.data.quality.agreement_report import AgreementReport
from plumbline.data.quality.drift import DriftReport
from plumbline.evaluation.failure_modes.over_optimization import OverOptimization, over_optimization
from plumbline.evaluation.failure_modes.pressures import PressureEvidence
from plumbline.evaluation.scorers import Score
from plumbline.evaluation.scoring import score_samples
from plumbline.profile.profile import load_profile
from plumbline.schema.conversations import Decoder, Message, Response, ResponseSource
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.feedback import Comparison, Consent, Context, FeedbackEvent, Provenance
from plumbline.schema.held_out import BestOfDraws, EvalPrompt, Policy, Sample

RULE = load_profile("sandbox").pressures
LEVEL = 0.95
DECODER = Decoder(temperature=1.0, max_new_tokens=48, seed=0)
SOURCE = ResponseSource(policy="p", chat_template="t", role_format="conversation", decoder=None)
INTENTS = 40
"""Things that the prompts of a slice are about, five wordings each."""
EXPECTED = {
    "benign-en": "comply",
    "idiom-en": "comply",
    "idiom-es": "comply",
    "harm-en": "refuse",
    "harm-es": "refuse",
}
TEMPLATES = {
    "benign-en": "own",
    "idiom-en": "own",
    "idiom-es": "own",
    "harm-en": "own",
    "harm-es": "own",
}


@dataclass(frozen=True)
class Behaviour:
    """What a policy does on the prompts of a slice, in shares and means."""

    refuses: float
    correct: float = 0.9
    """Among the answers to prompts to be answered."""
    reward: float = 0.0
    utility: float = 0.0
    """Added to the utility that follows from label and expectation."""


GOOD = {
    name: Behaviour(refuses=0.98 if expected == "refuse" else 0.02, reward=1.0)
    for name, expected in EXPECTED.items()
}
WEAK = {
    name: Behaviour(refuses=0.45 if expected == "refuse" else 0.15, correct=0.6)
    for name, expected in EXPECTED.items()
}


@dataclass(frozen=True)
class World:
    """Behaviours by policy and slice, and what was measured on the labels."""

    reference: Mapping[str, Behaviour] = field(default_factory=lambda: dict(WEAK))
    aligned: Mapping[str, Behaviour] = field(default_factory=lambda: dict(GOOD))
    champion: Mapping[str, Behaviour] | None = None
    variants: tuple[str, ...] = ("polite", "terse")
    agreeing: float = 0.9
    drift: DriftReport = field(default_factory=lambda: drift_report("first version"))
    gold_of_best: float = 0.1
    """What one further nat of reward adds to the utility of the reference's draws."""

    def doing(self, policy: Policy, slices: Mapping[str, Behaviour]) -> "World":
        """The same world where one policy behaves otherwise on some slices; a slice of a variant is
        `<slice>.<variant>`."""
        return replace(self, **{policy: {**getattr(self, policy), **slices}})


def prompts_of(world: World) -> list[EvalPrompt]:
    """200 prompts of each slice, and 100 of each reworded."""
    found = []
    for name, expected in EXPECTED.items():
        for number in range(5 * INTENTS):
            intent, language = f"{name.split('-')[0]}-{number % INTENTS}", name.split("-")[1]
            context = Context(locale=language, domain="d", slice=name)
            facts = {
                "intent": intent,
                **({"borderline": "yes"} if name.startswith("idiom") else {}),
            }
            base = EvalPrompt(
                id=f"{name}.{number}",
                prompt=(Message(role="user", content=f"{name} {number}"),),
                expected=expected,
                context=context,
                facts=facts,
            )
            found.append(base)
            if number < 100:
                for variant in world.variants:
                    reworded = {**facts, "variant_of": base.id, "variant": variant}
                    own = Context(locale=language, domain="d", slice=f"{name}.{variant}")
                    found.append(
                        EvalPrompt(
                            id=f"{base.id}.{variant}",
                            prompt=base.prompt,
                            expected=expected,
                            context=own,
                            facts=reworded,
                        )
                    )
    return found


def score(prompt: EvalPrompt, response: str) -> Score:
    """The metrics that stand in the response."""
    del prompt
    return Score(metrics=json.loads(response), label="written")


def evidence(world: World) -> PressureEvidence:
    """What the pressures look at in this world."""
    prompts = prompts_of(world)
    policies = {"reference": world.reference, "aligned": world.aligned} | (
        {} if world.champion is None else {"champion": world.champion}
    )
    samples = [
        sample(prompt, policy, behaviours)
        for policy, behaviours in policies.items()
        for prompt in prompts
    ]
    champion = None if world.champion is None else "sha256:" + "c" * 64
    scored = score_samples(prompts, samples, score, cluster="intent", champion=champion)
    # the pressures read level, cluster and champion of the report; its estimates would take seconds
    report = EvalReport(
        scorer="sandbox",
        level=LEVEL,
        seed=0,
        decoder=DECODER,
        samples="sha256:" + "0" * 64,
        prompts=len(prompts),
        champion=champion,
        cluster="intent",
        slices={},
        pooled={},
        labels={},
        unavailable={},
    )
    locales = {"en": 1000, "es": 400}
    return PressureEvidence(
        report,
        prompts,
        scored,
        curve(world, prompts),
        agreed(world.agreeing),
        3,
        world.drift,
        locales,
    )


def sample(prompt: EvalPrompt, policy: Policy, behaviours: Mapping[str, Behaviour]) -> Sample:
    """One response. Luck is drawn from the base prompt, so that wordings are answered alike unless
    the behaviours differ."""
    name = prompt.context.slice
    behaviour = behaviours.get(name) or behaviours[name.partition(".")[0]]
    luck = Random(
        f"{policy if policy == 'reference' else 'trained'}"
        f"|{prompt.facts.get('variant_of', prompt.id)}"
    )
    refused, correct, noise = (
        luck.random() < behaviour.refuses,
        luck.random() < behaviour.correct,
        luck.gauss(0, 0.3),
    )
    metrics = (
        {
            "harmful_compliance": float(not refused),
            "utility": (1.0 if refused else -2.0) + behaviour.utility + noise,
        }
        if prompt.expected == "refuse"
        else {
            "over_refusal": float(refused),
            "correctness": float(correct and not refused),
            "utility": (-1.2 if refused else 1.5 if correct else 0.2) + behaviour.utility + noise,
        }
    )
    return Sample(
        prompt_id=prompt.id,
        slice=name,
        policy=policy,
        response=json.dumps(metrics),
        tokens=10,
        truncated=False,
        logp=-3.0,
        reference_logp=-4.0,
        reward=behaviour.reward + luck.gauss(0, 0.3),
        seed=0,
    )


def curve(world: World, prompts: list[EvalPrompt]) -> OverOptimization | None:
    """Best of 8 for 60 prompts; the utility of a draw follows its reward by `gold_of_best`."""
    draws = []
    for prompt in [prompt for prompt in prompts if "variant_of" not in prompt.facts][::10][:60]:
        luck = Random(prompt.id)
        rewards = tuple(luck.gauss(0, 1) for _ in range(8))
        responses = tuple(
            json.dumps({"utility": world.gold_of_best * reward + luck.gauss(0, 0.3)})
            for reward in rewards
        )
        draws.append(
            BestOfDraws(
                prompt_id=prompt.id,
                slice=prompt.context.slice,
                responses=responses,
                rewards=rewards,
                tokens=(10,) * 8,
            )
        )
    return over_optimization(draws, prompts, score, LEVEL, cluster="intent")


@cache
def agreed(share: float, items: int = 400, clause: str | None = None) -> AgreementReport:
    """Agreement where two annotators of an item agree on this share of the items."""
    luck = Random(7)
    events = []
    for number in range(items):
        same = luck.random() < share
        for annotator, preferred in (("a", 0), ("b", 0 if same else 1)):
            events.append(
                FeedbackEvent.create(
                    prompt=(Message(role="user", content=f"prompt {number}"),),
                    responses=(
                        Response(text="one", source=SOURCE),
                        Response(text="two", source=SOURCE),
                    ),
                    judgment=Comparison(preferred=preferred, strength=1),
                    clause=clause,
                    annotator=annotator,
                    provenance=Provenance(written_by="w", filtered_by="f", approved_by="g"),
                    consent=Consent(scope="training", version="1"),
                    rubric="r@1",
                    context=Context(locale="en", domain="d", slice="s"),
                    synthetic=True,
                    time=datetime(2026, 1, 1, tzinfo=UTC),
                )
            )
    return agreement(events, LEVEL, 0)


def drift_report(status: str, *reasons: str) -> DriftReport:
    """A drift report with this status."""
    return DriftReport(
        status=status,
        reasons=reasons or (f"status {status}",),
        pairs=100,
        previous_pairs=None,
        common=0,
        flipped=0,
        flips=None,
        flipped_pairs=(),
        mix_distance=None,
        mix={},
        longer_wins=None,
        previous_longer_wins=None,
    )
