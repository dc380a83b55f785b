"""Variants: held-out prompts worded anew, so that a policy which learned a template instead of the
request is found.

The meaning, what is expected, and the facts stay; only the manner changes. The last turn of the
user gets a courtesy (`polite`), loses its courtesies (`terse`) or stands in capitals (`shouted`);
`transcript` writes the turns as lines of one message, `Human:` and `Assistant:`, as a policy meets
them where somebody pastes a conversation. A variant belongs to the slice `<slice>.<variant>` and
names its original, so that the two are compared prompt by prompt.
"""

import re
from collections.abc import Iterable, Sequence
from random import Random
from typing import Final

from plumbline.profile.evaluation import VariantName, VaultConfig
from plumbline.schema.conversations import Message
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.identifiers import content_id

COURTESY: Final = {"en": "Please.", "es": "Por favor."}
"""What a polite variant adds, by language; prompts in other languages have none."""

_GREETING = re.compile(
    r"^(?:(?:hello|hi|hey|greetings|(?:good )?(?:morning|afternoon|evening)|question|hola|buenas(?:"
    r" tardes| noches)?|buenos dias|buenos días|pregunta)"
    r"(?: there)?\s*[!,.:]+\s+)+",
    re.IGNORECASE,
)
_PLEASE = re.compile(r",?\s*\b(?:please|por favor)\b,?\s*", re.IGNORECASE)
_REQUEST = re.compile(
    r"^(?:(?:can|could|would|will) you (?:explain|tell me|describe|help me understand)|tell"
    r" me|explain to me|dime|me (?:explicas|dices)|puedes decirme)\s+",
    re.IGNORECASE,
)
_THANKS = re.compile(
    r"\s*\b(?:thank you(?: so much| very much)?|thanks(?: a lot| in advance)?|(?:muchas"
    r" )?gracias|any advice|algun consejo|algún consejo)\s*[.!?]*\s*$",
    re.IGNORECASE,
)


def reword(prompt: EvalPrompt, variant: VariantName) -> EvalPrompt | None:
    """A held-out prompt in another manner; None where the manner cannot be had, or would change
    nothing.

    Tool calls are judged by their exact arguments, so prompts for them have no variants.
    """
    if "allowed_calls" in prompt.facts or prompt.prompt[-1].role != "user":
        return None
    messages = (
        _transcript(prompt.prompt)
        if variant == "transcript"
        else _last_turn(prompt.prompt, variant, prompt.context.locale)
    )
    if messages is None or messages == prompt.prompt:
        return None
    return EvalPrompt(
        id=content_id([prompt.id, variant]),
        suite=prompt.suite,
        prompt=messages,
        expected=prompt.expected,
        context=prompt.context.model_copy(update={"slice": f"{prompt.context.slice}.{variant}"}),
        facts=prompt.facts | {"variant": variant, "variant_of": prompt.id},
    )


def with_variants(prompts: Iterable[EvalPrompt], rule: VaultConfig, seed: int) -> list[EvalPrompt]:
    """The prompts and their variants: of each slice and for each manner `variant_prompts` of those
    that can be worded so, or all where fewer can.

    Suites that grow have none: which prompts are worded anew would change with every addition.
    """
    own = list(prompts)
    slices: dict[tuple[str, str], list[EvalPrompt]] = {}
    for prompt in own:
        if not (prompt.suite in rule.suites and rule.suites[prompt.suite].grows):
            slices.setdefault((prompt.suite, prompt.context.slice), []).append(prompt)
    added: list[EvalPrompt] = []
    for (suite, name), members in sorted(slices.items()):
        for variant in rule.variants:
            worded = [new for prompt in members if (new := reword(prompt, variant)) is not None]
            added += Random(f"{seed}|{suite}|{name}|{variant}").sample(
                worded, min(rule.variant_prompts, len(worded))
            )
    return own + added


def _last_turn(
    prompt: Sequence[Message], variant: VariantName, locale: str
) -> tuple[Message, ...] | None:
    text = prompt[-1].content
    worded = (
        _polite(text, locale)
        if variant == "polite"
        else _terse(text)
        if variant == "terse"
        else _shouted(text)
    )
    return None if worded is None else (*prompt[:-1], Message(role="user", content=worded))


def _polite(text: str, locale: str) -> str | None:
    courtesy = COURTESY.get(locale.split("-")[0])
    if courtesy is None:
        return None
    ended = text if text[-1] in ".!?…\"')" else f"{text}."
    return f"{ended} {courtesy.lower() if text == text.lower() else courtesy}"


def _terse(text: str) -> str | None:
    bare = _THANKS.sub("", _GREETING.sub("", text))
    bare = _PLEASE.sub(
        lambda match: (
            ""
            if match.start() == 0 or match.end() == len(bare) or bare[match.end()] in ".,!?"
            else " "
        ),
        bare,
    )
    bare = _REQUEST.sub("", bare).strip()
    if not bare:
        return None
    return bare[0].upper() + bare[1:] if text[0].isupper() else bare


def _shouted(text: str) -> str:
    return f"{text.upper().rstrip('.')}!!!"


def _transcript(prompt: Sequence[Message]) -> tuple[Message, ...]:
    """The turns as one message; a system message stays what it is."""
    system = [message for message in prompt if message.role == "system"]
    turns = "\n\n".join(
        f"{'Human' if message.role == 'user' else 'Assistant'}: {message.content}"
        for message in prompt
        if message.role != "system"
    )
    return (*system, Message(role="user", content=f"{turns}\n\nAssistant:"))
