"""The sandbox as the project's own records: demonstrations, feedback events and held-out prompts.

Every function here is a pure function of `SandboxOptions`. The record streams are prefix-stable:
asking for more demonstrations or pairs appends and does not change the earlier ones.
"""

import itertools
import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Final, NamedTuple

from plumbline.errors import ConfigError
from plumbline.sandbox.annotators import Annotator, annotator_pool
from plumbline.sandbox.judge import judge
from plumbline.sandbox.lexicon import LANGUAGES
from plumbline.sandbox.responses import sample_pair, sample_response
from plumbline.sandbox.world import (
    KINDS,
    Intent,
    Kind,
    Wrapper,
    prompts,
    split_intents,
)
from plumbline.schema.conversations import Decoder, Message, Response, ResponseSource
from plumbline.schema.feedback import Comparison, Consent, Context, FeedbackEvent, Provenance
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id
from plumbline.schema.kinds import DEMONSTRATIONS
from plumbline.schema.preferences import Demonstration

DEMONSTRATION_SHARES: Final = (0.45, 0.25, 0.15, 0.15)
"""Share of benign, harm, own and idiom in the demonstrations."""
PAIR_SHARES: Final = (0.32, 0.32, 0.18, 0.18)
"""The same among the pairs."""
STORY_SHARE: Final = 0.15
"""Share of the prompts that wear the story wrapper."""
REPEATED_SHARE: Final = 0.05
"""Share of the pairs that several annotators judge."""
JUDGES_PER_REPEATED: Final = 3
START: Final = datetime(2026, 1, 5, tzinfo=UTC)
GAP: Final = timedelta(seconds=80)
"""Time between two events: 1,080 events a day, so the default 6,000 fill six days."""

CONSENT: Final = Consent(scope="training", version="sandbox-1")
"""What its simulated people allow."""
PROVENANCE: Final = Provenance(written_by="sandbox", filtered_by="sandbox", approved_by="sandbox")
"""Who stands behind every item of the sandbox."""
BASE_SOURCE: Final = ResponseSource(
    policy="sandbox-base",
    chat_template="plumbline-chat",
    role_format="conversation",
    decoder=Decoder(temperature=1.0, top_p=1.0, max_new_tokens=64, seed=0),
)
"""Where the responses of the base policy come from."""


@dataclass(frozen=True)
class SandboxOptions:
    """The knobs of the sandbox.

    Raises:
        ConfigError: If a knob is out of range.
    """

    seed: int = 0
    demonstrations: int = 24000
    pairs: int = 6000
    """Judgments of pairs in all, over all batches; a few pairs have several."""
    verdicts: int = 0
    """Judgments of single responses, for the guardrail."""
    pair_languages: tuple[float, float] = (0.5, 0.5)
    """Share of English and Spanish among the feedback events."""
    demonstration_languages: tuple[float, float] = (0.5, 0.5)
    annotators: int = 6
    length_bias: float = 0.15
    """Mean bonus that annotators give to a filler sentence, in utility."""
    flip_rate: float = 0.03
    """Mean probability of a flipped judgment."""
    prompts_per_slice: int = 300
    rubric: str = "helpful-harmless@1"

    def __post_init__(self) -> None:
        """Check the ranges."""
        for name in (DEMONSTRATIONS, "pairs", "verdicts", "prompts_per_slice"):
            if getattr(self, name) < 0:
                raise ConfigError(
                    f"sandbox: {name} is {getattr(self, name)}; it must not be negative"
                )
        for name in ("pair_languages", "demonstration_languages"):
            shares = getattr(self, name)
            if len(shares) != len(LANGUAGES) or min(shares) < 0 or not math.isclose(sum(shares), 1):
                raise ConfigError(
                    f"sandbox: {name} is {shares}; it must be two shares (English, Spanish) that"
                    " add up to 1"
                )
        if not 1 <= self.annotators <= 99:
            raise ConfigError(f"sandbox: annotators is {self.annotators}; it must be 1 to 99")
        if not 0 <= self.flip_rate * 1.5 < 0.5:
            raise ConfigError(
                f"sandbox: flip_rate is {self.flip_rate}; it must be at least 0 and below 1/3, so"
                " that every annotator tells more truth than lies"
            )


class Scene(NamedTuple):
    """A prompt with what the world knows about it."""

    intent: Intent
    language: str
    wrapper: Wrapper
    text: str

    @property
    def prompt(self) -> tuple[Message]:
        """The prompt as a conversation of one turn."""
        return (Message(role="user", content=self.text),)

    @property
    def context(self) -> Context:
        """Locale, domain and slice."""
        return Context(
            locale=self.language,
            domain=self.intent.family,
            slice=slice_name(self.intent.kind, self.language, self.wrapper),
        )


def slice_name(kind: Kind, language: str, wrapper: Wrapper) -> str:
    """`<kind>-en`, `<kind>-es` or, for a story in English, `<kind>-story`: each slice differs from
    `<kind>-en` in one respect."""
    return f"{kind}-story" if wrapper == "story" and language == "en" else f"{kind}-{language}"


def demonstrations(options: SandboxOptions) -> Iterator[Demonstration]:
    """Prompts with responses of the imperfect base policy, about training intents."""
    rng = Random(f"{options.seed}|demonstrations")
    for index, scene in enumerate(
        itertools.islice(
            scenes(options.seed, DEMONSTRATION_SHARES, options.demonstration_languages, rng),
            options.demonstrations,
        )
    ):
        response = sample_response(scene.intent, scene.language, rng)
        yield Demonstration(
            id=content_id([options.seed, index, scene.text, response]),
            prompt=scene.prompt,
            response=response,
            author_role="synthetic",
            provenance=PROVENANCE,
            consent=CONSENT,
            context=scene.context,
        )


def feedback_events(options: SandboxOptions) -> Iterator[FeedbackEvent]:
    """Judgments of pairs of responses, about training intents, in the order of time."""
    times = (START + index * GAP for index in range(options.pairs))
    for (scene, first, second, annotator, rng), time in zip(
        _judgments(options), times, strict=False
    ):
        vote = annotator.vote(
            judge(scene.intent, scene.language, first),
            judge(scene.intent, scene.language, second),
            rng,
        )
        yield FeedbackEvent.create(
            prompt=scene.prompt,
            responses=(
                Response(text=first, source=BASE_SOURCE),
                Response(text=second, source=BASE_SOURCE),
            ),
            judgment=Comparison(preferred=vote.preferred, strength=vote.strength),
            annotator=annotator.name,
            provenance=PROVENANCE,
            consent=CONSENT,
            rubric=options.rubric,
            context=scene.context,
            synthetic=True,
            time=time,
        )


def eval_prompts(options: SandboxOptions) -> Iterator[EvalPrompt]:
    """Distinct prompts about held-out intents, slice by slice.

    Raises:
        ConfigError: If a slice has fewer distinct prompts than `prompts_per_slice` asks for.
    """
    _, held_out = split_intents(options.seed)
    for kind in KINDS:
        for language, wrapper in _SLICES:
            name = slice_name(kind, language, wrapper)
            worded = [
                Scene(intent, language, wrapper, text)
                for intent in held_out[kind]
                for text in prompts(intent, language, wrapper)
            ]
            if len(worded) < options.prompts_per_slice:
                raise ConfigError(
                    f"sandbox: slice {name} has {len(worded)} distinct prompts; prompts_per_slice"
                    f" asks for {options.prompts_per_slice}"
                )
            for scene in Random(f"{options.seed}|{name}").sample(worded, options.prompts_per_slice):
                yield EvalPrompt(
                    id=content_id([name, scene.text]),
                    prompt=scene.prompt,
                    expected="refuse" if scene.intent.should_refuse else "comply",
                    context=scene.context,
                    facts={"intent": scene.intent.key, "language": language},
                )


_SLICES: Final[tuple[tuple[str, Wrapper], ...]] = (
    ("en", "plain"),
    ("es", "plain"),
    ("en", "story"),
)


def annotators_of(options: SandboxOptions) -> tuple[Annotator, ...]:
    """The panel that judges in this sandbox."""
    return annotator_pool(
        options.annotators, length_bias=options.length_bias, flip_rate=options.flip_rate
    )


def scenes(
    seed: int, kinds: tuple[float, ...], languages: tuple[float, float], rng: Random
) -> Iterator[Scene]:
    """An endless stream of prompts about training intents."""
    training, _ = split_intents(seed)
    while True:
        intent = rng.choice(training[rng.choices(KINDS, kinds)[0]])
        language = rng.choices(LANGUAGES, languages)[0]
        wrapper: Wrapper = "story" if rng.random() < STORY_SHARE else "plain"
        yield Scene(intent, language, wrapper, rng.choice(prompts(intent, language, wrapper)))


def _judgments(options: SandboxOptions) -> Iterator[tuple[Scene, str, str, Annotator, Random]]:
    """An endless stream of pairs with the annotator who judges each; some pairs come several times
    in a row."""
    rng = Random(f"{options.seed}|feedback")
    raters = annotators_of(options)
    for scene in scenes(options.seed, PAIR_SHARES, options.pair_languages, rng):
        first, second = sample_pair(scene.intent, scene.language, rng)
        judges = min(JUDGES_PER_REPEATED, len(raters)) if rng.random() < REPEATED_SHARE else 1
        for rater in rng.sample(raters, judges):
            yield scene, first, second, rater, rng
