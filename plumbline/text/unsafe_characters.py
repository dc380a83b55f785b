"""Hostile text: what a reader, a browser, a spreadsheet or a tokenizer takes for something else
than text.

Nothing here changes a text: zero-width joiners belong to emoji and to Persian, markup to questions
about HTML. What was found is counted and shown with every invisible character escaped; a person
decides. Text that a chat template would read is in `control_tokens`.
"""

import re
import unicodedata
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

EXCERPT = 60
"""Characters of a text that an excerpt shows."""


@dataclass(frozen=True)
class SuspiciousText:
    """One kind of suspicious text."""

    kind: str
    """One of `KINDS`."""
    count: int
    """How often it stands in the text, at least 1."""
    excerpt: str
    """The first place with what stands around it, escaped."""


_CHARACTERS = {
    "bidi": (
        "\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069"
    ),  # reorder what is shown (Boucher and Anderson 2021, Trojan Source)
    "zero-width": (
        "\u00ad\u034f\u115f\u1160\u17b4\u17b5\u180e\u200b\u2060-\u2064\u206a-\u206f\u3164\ufeff\uffa0"
    ),
    "joiner": "\u200c\u200d\ufe00-\ufe0f",  # legitimate in emoji, Persian and Indic scripts
    "tag characters": "\U000e0000-\U000e007f\U000e0100-\U000e01ef",  # carry hidden ASCII or bytes
    "control characters": "\x00-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f\u2028\u2029\ufff9-\ufffb",
}
_MARKUP = (
    r"<\s*/?\s*(?:script|iframe|object|embed|svg|style|link|meta|base|form|img|video|audio|template)\b"
    r"|<[a-z][^<>]{0,300}?\son[a-z]{3,20}\s*="
    r"|\b(?:java|vb)script\s*:[^\s]"
    r"|\bdata\s*:\s*text/html"
    r"|!\[[^\]\n]{0,200}\]\(\s*(?:https?:)?//"
)
# A cell that a spreadsheet computes: `=` before a function, cell, number or command; `+`, `-`, `@`
# only before a call or a DDE command.
_FORMULA = r"\A[\s\u200b]*(?:=\s*[A-Za-z0-9\"+@({-]|[+@-]\s*[\w.+*-]{0,30}[(|])"
_PATTERNS = {kind: re.compile(f"[{characters}]") for kind, characters in _CHARACTERS.items()} | {
    "markup": re.compile(_MARKUP, re.IGNORECASE),
    "formula": re.compile(_FORMULA),
}
KINDS = tuple(_PATTERNS)
_INVISIBLE = re.compile("[" + "".join(_CHARACTERS.values()) + "]")
_MARKUP_HINTS = (
    "<",
    "](",
    "script",
    "data",
)  # a text without any of these, in lower case, holds no markup


def find_suspicious_text(text: str) -> tuple[SuspiciousText, ...]:
    """Every kind of suspicious text in a text, in the order of `KINDS`; empty for nearly all
    texts."""
    kinds = list(_CHARACTERS) if _INVISIBLE.search(text) else []
    lowered = text.lower()
    if any(hint in lowered for hint in _MARKUP_HINTS):
        kinds.append("markup")
    return tuple(_oddities(text, [*kinds, "formula"]))


def _oddities(text: str, kinds: Iterable[str]) -> Iterator[SuspiciousText]:
    for kind in kinds:
        first = _PATTERNS[kind].search(text)
        if first is not None:
            yield SuspiciousText(
                kind, sum(1 for _ in _PATTERNS[kind].finditer(text)), excerpt(text, first.start())
            )


def excerpt(text: str, position: int) -> str:
    """At most `EXCERPT` characters around a position, on one line, escaped."""
    start = max(0, position - EXCERPT // 3)
    end = start + EXCERPT
    return (
        ("..." if start else "")
        + escaped(text[start:end]).replace("\n", "\\n").replace("\r", "\\r")
        + ("..." if end < len(text) else "")
    )


def escaped(text: str) -> str:
    r"""The text with every invisible or reordering character as `\u{200b}`, for people; markup
    stays as it is and needs HTML escaping in a page."""
    return _INVISIBLE.sub(lambda match: f"\\u{{{ord(match.group()):x}}}", text)


def visible(value: object) -> str:
    """Text in which every character can be seen: those that hide, reorder or control others (zero
    width, bidi, tags) are written as U+ numbers."""
    hidden = {"Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp"}
    text = "" if value is None else str(value)
    return "".join(
        character
        if character in "\n\t" or unicodedata.category(character) not in hidden
        else f"⟨U+{ord(character):04X}⟩"
        for character in text
    )


def printable(text: str) -> str:
    """Text without control characters: names and facts come from data and must not steer the
    terminal."""
    return "".join(
        character if character.isprintable() else character.encode("unicode_escape").decode()
        for character in text
    )
