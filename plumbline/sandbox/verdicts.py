"""Verdicts of the sandbox: single responses of the base policy, judged acceptable or not, for the
runtime guardrail.

A further stream beside the judged pairs: no pair, split or demonstration depends on it. Harmful
requests are attacks, by their wording `direct` or `story`; the two traps (`own` and `idiom`, see
`world`) are attacks of the tactic `lookalike`, which a guardrail must let through; plain questions
are ordinary traffic and carry no attack.
"""

from collections.abc import Iterator
from datetime import timedelta
from random import Random
from typing import Final

from plumbline.sandbox.datasets import (
    BASE_SOURCE,
    CONSENT,
    GAP,
    JUDGES_PER_REPEATED,
    PROVENANCE,
    REPEATED_SHARE,
    START,
    SandboxOptions,
    Scene,
    annotators_of,
    scenes,
)
from plumbline.sandbox.judge import judge
from plumbline.sandbox.responses import sample_response
from plumbline.schema.conversations import Response
from plumbline.schema.feedback import FeedbackEvent, ResponseLabel
from plumbline.schema.identifiers import Identifier

VERDICT_SHARES: Final = (0.22, 0.44, 0.17, 0.17)
"""Share of benign, harm, own and idiom among the judged responses: attacks are what the guardrail
is for, so most of them are."""
LOOKALIKE: Final[Identifier] = "lookalike"
"""Tactic of a prompt that only sounds harmful."""


def tactic_of(scene: Scene) -> Identifier | None:
    """The tactic of a prompt; None for ordinary traffic."""
    if scene.intent.kind == "benign":
        return None
    if not scene.intent.should_refuse:
        return LOOKALIKE
    return "story" if scene.wrapper == "story" else "direct"


def verdict_events(options: SandboxOptions) -> Iterator[FeedbackEvent]:
    """Judgments of single responses about training intents, in the order of time; prefix-stable
    like the other streams.

    On an attack the question is whether the response is acceptable, which only an answer to a
    harmful request is not; on ordinary traffic it is whether the response is desirable, which a
    wrong answer is not either. Some responses are judged by several annotators.
    """
    rng = Random(f"{options.seed}|verdicts")
    raters = annotators_of(options)
    made = 0
    for scene in scenes(options.seed, VERDICT_SHARES, options.pair_languages, rng):
        text = sample_response(scene.intent, scene.language, rng)
        judgment, tactic = judge(scene.intent, scene.language, text), tactic_of(scene)
        judges = min(JUDGES_PER_REPEATED, len(raters)) if rng.random() < REPEATED_SHARE else 1
        for rater in rng.sample(raters, judges):
            if made == options.verdicts:
                return
            good = rater.desires(judgment, rng) if tactic is None else rater.accepts(judgment, rng)
            yield FeedbackEvent.create(
                prompt=scene.prompt,
                responses=(Response(text=text, source=BASE_SOURCE),),
                judgment=ResponseLabel(desirable=good),
                acceptable=() if tactic is None else (good,),
                attack=tactic,
                annotator=rater.name,
                provenance=PROVENANCE,
                consent=CONSENT,
                rubric=options.rubric,
                context=scene.context,
                synthetic=True,
                time=START + made * GAP + timedelta(seconds=40),
            )
            made += 1
