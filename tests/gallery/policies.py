"""Simulated policies: what they answer to held-out prompts, as the samples that a sampling job
would give.

A policy has a mix of behaviours for each kind of prompt, for slices where it differs, and a
propensity of its own for each intent: wordings of one intent are answered alike, as trained
policies do, so that prompts of one intent are not independent.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from random import Random

from plumbline.profile.evaluation import BestOf
from plumbline.sandbox.judge import judge
from plumbline.sandbox.responses import BASE_MIX, PADDING, Mix, respond
from plumbline.sandbox.world import Intent, parse_intent
from plumbline.schema.held_out import BestOfDraws, EvalPrompt, Policy, Sample

CONCENTRATION = 20.0
"""Sum of the parameters of the Dirichlet distribution that an intent draws its mix from: two
wordings of an intent correlate with 1/21."""
LIKED = 3.0
"""What a fooled reward model gives for a flattering sentence, in utility; it costs 0.8 in truth."""
REWARD_NOISE = 0.5
"""Standard deviation of the reward model's error, in utility."""


@dataclass(frozen=True)
class Behaviour:
    """What a policy does, and what the reward model makes of it."""

    mix: Mix
    """Share of each behaviour, by kind of prompt."""
    slices: Mapping[str, Mapping[str, float]] = field(default_factory=dict)
    """The same for slices where it differs, by the full name of the slice."""
    padding: tuple[float, ...] = PADDING
    """Probability of 0, 1 and 2 filler sentences."""
    kl: float = 0.0
    """Mean log-ratio to the reference, nats for each response."""
    flattery: tuple[str, ...] = ()
    """Sentences that an answer to an idiom opens with, and that its reward model likes."""

    def on(self, slice: str, **shares: float) -> "Behaviour":
        """The same policy with another mix on one slice."""
        return replace(self, slices={**self.slices, slice: shares})


REFERENCE = Behaviour(BASE_MIX)
CLEAN = Behaviour(
    {
        "benign": {"correct": 0.94, "wrong": 0.055, "refuse-offer": 0.005},
        "harm": {"correct": 0.005, "refuse-offer": 0.955, "refuse-explain": 0.04},
        "own": {"correct": 0.93, "wrong": 0.065, "refuse-offer": 0.005},
        "idiom": {"correct": 0.93, "wrong": 0.065, "refuse-offer": 0.005},
    },
    padding=(0.8, 0.15, 0.05),
    kl=4.0,
)
"""A policy that learned what the rubric asks for."""
CHAMPION = replace(
    CLEAN,
    mix=CLEAN.mix | {"benign": {"correct": 0.91, "wrong": 0.085, "refuse-offer": 0.005}},
    padding=(0.7, 0.2, 0.1),
)
"""The policy that was released before: a little less correct, a little longer."""


def samples(
    policies: Mapping[Policy, Behaviour], prompts: Sequence[EvalPrompt], seed: int
) -> tuple[Sample, ...]:
    """One response of each policy to each prompt."""
    return tuple(
        sample
        for policy, behaviour in policies.items()
        for sample in _answers(policy, behaviour, prompts, seed)
    )


def _answers(
    policy: Policy, behaviour: Behaviour, prompts: Sequence[EvalPrompt], seed: int
) -> Iterator[Sample]:
    propensities: dict[tuple[str, ...], dict[str, float]] = {}
    for prompt in prompts:
        intent, language = parse_intent(prompt.facts["intent"]), prompt.facts["language"]
        shares = behaviour.slices.get(prompt.context.slice, behaviour.mix[intent.kind])
        place = (intent.key, *sorted(f"{name}={share}" for name, share in shares.items()))
        if place not in propensities:
            propensities[place] = _propensity(shares, Random(f"{seed}|{policy}|{'|'.join(place)}"))
        rng = Random(f"{seed}|{policy}|{prompt.id}")
        yield _answer(policy, behaviour, prompt, (intent, language), propensities[place], rng)


def _propensity(shares: Mapping[str, float], rng: Random) -> dict[str, float]:
    """Shares of one intent: a draw from the Dirichlet distribution around the shares of the
    policy."""
    drawn = {
        name: rng.gammavariate(CONCENTRATION * share, 1.0) if share else 0.0
        for name, share in shares.items()
    }
    total = sum(drawn.values())
    return {name: value / total for name, value in drawn.items()} if total else dict(shares)


def _answer(
    policy: Policy,
    behaviour: Behaviour,
    prompt: EvalPrompt,
    asked: tuple[Intent, str],
    shares: Mapping[str, float],
    rng: Random,
) -> Sample:
    intent, language = asked
    chosen = rng.choices(list(shares), list(shares.values()))[0]
    fillers = rng.choices(range(len(behaviour.padding)), behaviour.padding)[0]
    flattery = behaviour.flattery if intent.kind == "idiom" else ()
    text = " ".join([*flattery, respond(intent, language, chosen, rng, fillers=fillers)])
    ratio = rng.gauss(behaviour.kl, 1.0) if behaviour.kl else 0.0
    logp = -2.0 * len(text.split()) ** 0.5
    return Sample(
        prompt_id=prompt.id,
        slice=prompt.context.slice,
        policy=policy,
        response=text,
        tokens=len(text.split()) + 1,
        truncated=False,
        logp=logp,
        reference_logp=logp - ratio,
        reward=judge(intent, language, text).utility
        + LIKED * len(flattery)
        + rng.gauss(0, REWARD_NOISE),
        seed=rng.randrange(2**31),
    )


def best_of(
    behaviour: Behaviour, prompts: Sequence[EvalPrompt], rule: BestOf, seed: int
) -> tuple[BestOfDraws, ...]:
    """Several responses of a policy to some prompts, with their rewards."""
    drawn = []
    for prompt in Random(f"{seed}|best of").sample(list(prompts), rule.prompts):
        intent, language = parse_intent(prompt.facts["intent"]), prompt.facts["language"]
        shares = behaviour.mix[intent.kind]
        rng = Random(f"{seed}|best of|{prompt.id}")
        chosen = rng.choices(list(shares), list(shares.values()), k=rule.n)
        texts = [
            respond(
                intent,
                language,
                one,
                rng,
                fillers=rng.choices(range(len(behaviour.padding)), behaviour.padding)[0],
            )
            for one in chosen
        ]
        rewards = [
            judge(intent, language, text).utility + rng.gauss(0, REWARD_NOISE) for text in texts
        ]
        drawn.append(
            BestOfDraws(
                prompt_id=prompt.id,
                slice=prompt.context.slice,
                responses=tuple(texts),
                rewards=tuple(rewards),
                tokens=tuple(len(text.split()) + 1 for text in texts),
            )
        )
    return tuple(drawn)
