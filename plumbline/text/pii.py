"""Personal data in text: found by the pattern recognizers of presidio-analyzer, and redacted.

Only patterns with a check of their own are used (checksum, number plan, list of public suffixes):
no language model, so that the same text gives the same findings on every machine. Names, postal
addresses and anything a person can tell only from the meaning are not found. Toxic text is not
looked for: filters on it erase the speech of the very groups that it targets (Xu et al. 2021,
"Detoxifying Language Models Risks Marginalizing Minority Voices"), so that what is offensive is a
question for the rubric and not for this screen.
"""

import ipaddress
import re
from collections.abc import Iterator
from functools import cache
from typing import TYPE_CHECKING, Any, NamedTuple

if TYPE_CHECKING:
    from presidio_analyzer import EntityRecognizer

MIN_SCORE = 0.4
"""Presidio's confidence from which a match counts; weaker ones are bare digits without a check."""

_DIGITS = r"\d(?:[\s().+/-]{0,3}\d){6,24}"
# What a match of each kind must hold, and how many characters around it a recognizer sees.
# Recognizers see such windows and never a whole text, so that most texts cost next to nothing and a
# hostile text cannot stall them. 254 characters is the longest address (RFC 5321).
_CANDIDATES = {
    "email": (re.compile(r"@\w[\w-]{0,62}\.\w"), 254),
    "phone": (re.compile(_DIGITS), 24),
    "payment card": (re.compile(r"\d(?:[ -]?\d){11,20}"), 24),
    "IBAN": (re.compile(r"[A-Za-z]{2}\d{2}[ -]?[A-Za-z0-9]{4}"), 40),
    "IP address": (re.compile(r":[0-9A-Fa-f]{0,4}:|\.\d{1,3}\.\d{1,3}\.\d"), 40),
    "US social security number": (re.compile(r"\d{3}[- .]\d{2}[- .]\d{4}"), 12),
    "UK insurance number": (re.compile(r"[A-Za-z]{2}\s?\d{2}\s?\d{2}\s?\d{2}"), 12),
}
KINDS = tuple(_CANDIDATES)
_WITHOUT_NUMBER = ("email", "IP address")
_NUMBER = re.compile(r"\d\d")
_LONGEST_WINDOW = 600  # characters
MAX_CANDIDATES = 1000
"""Candidates of one kind that are looked at in one text; what is left of a text with more counts as
personal data, unread, with score 0."""
_PHONE_WORD = re.compile(
    r"(?:phone|\btel\b|\bcall\b|mobile|\bcell|\bfax\b|whatsapp|\bsms\b|text me|reach"
    r" me)[^.\n]{0,30}\Z",
    re.IGNORECASE,
)
_RESERVED_DOMAIN = re.compile(
    r"@(?:[\w-]+\.)*example\.(?:com|net|org)\Z", re.IGNORECASE
)  # RFC 2606: belongs to nobody


class PersonalDatum(NamedTuple):
    """One place of a text that holds personal data."""

    kind: str
    """One of `KINDS`."""
    start: int
    end: int
    """One past the last character."""
    score: float
    """Presidio's confidence, 0 to 1."""


def find(text: str) -> tuple[PersonalDatum, ...]:
    """Personal data in a text by position; where matches overlap, the surer one and then the longer
    one counts.

    The first text with a candidate imports presidio, which takes seconds.
    """
    kinds = KINDS if _NUMBER.search(text) else _WITHOUT_NUMBER
    data = {datum for kind in kinds for datum in _of_kind(kind, text)}
    taken, kept = bytearray(len(text)), []
    for datum in sorted(
        data, key=lambda datum: (-datum.score, datum.start - datum.end, datum.start, datum.kind)
    ):
        if taken.find(1, datum.start, datum.end) < 0:
            taken[datum.start : datum.end] = b"\x01" * (datum.end - datum.start)
            kept.append(datum)
    return tuple(sorted(kept, key=lambda datum: datum.start))


def redact(text: str) -> str:
    """The text with every place that `find` names replaced by its kind in brackets, for example
    `[email]`."""
    parts, position = [], 0
    for datum in find(text):
        parts += [text[position : datum.start], f"[{datum.kind}]"]
        position = datum.end
    return "".join([*parts, text[position:]])


def _of_kind(kind: str, text: str) -> Iterator[PersonalDatum]:
    """Matches of one recognizer in the parts of the text around its candidates, merged where they
    touch."""
    pattern, reach = _CANDIDATES[kind]
    start = end = -1
    for number, match in enumerate(pattern.finditer(text)):
        low, high = max(0, match.start() - reach), min(len(text), match.end() + reach)
        if number == MAX_CANDIDATES:
            yield PersonalDatum(kind, low, len(text), 0.0)
            break
        if low > end or high - start > _LONGEST_WINDOW:
            if end >= 0:
                yield from _in_window(kind, text, start, end)
            start = low
        end = max(end, high)
    if end >= 0:
        yield from _in_window(kind, text, start, end)


def _in_window(kind: str, text: str, start: int, end: int) -> Iterator[PersonalDatum]:
    recognizer = _recognizers()[kind]
    for match in recognizer.analyze(text[start:end], recognizer.supported_entities, None) or ():  # type: ignore[arg-type]  # patterns need no artifacts of a language model
        datum = PersonalDatum(kind, start + match.start, start + match.end, float(match.score))
        if datum.score >= MIN_SCORE and _plausible(datum, text):
            yield datum


def _plausible(datum: PersonalDatum, text: str) -> bool:
    """What the patterns leave open: bare digits that are no telephone number, decimals, addresses
    that belong to nobody."""
    value, before = text[datum.start : datum.end], text[max(0, datum.start - 60) : datum.start]
    if datum.kind == "phone":
        bare = value.isdigit() or re.fullmatch(r"\d+\.\d+", value) is not None
        return not bare or before.endswith("+") or _PHONE_WORD.search(before) is not None
    if datum.kind == "payment card":
        return re.search(r"\d[.,]\Z", before) is None
    if datum.kind == "IP address":
        try:
            return ipaddress.ip_address(value).is_global
        except ValueError:
            return False
    return not (datum.kind == "email" and _RESERVED_DOMAIN.search(value))


@cache
def _recognizers() -> "dict[str, EntityRecognizer]":
    from presidio_analyzer.predefined_recognizers import (
        CreditCardRecognizer,
        EmailRecognizer,
        IbanRecognizer,
        IpRecognizer,
        PhoneRecognizer,
        UkNinoRecognizer,
        UsSsnRecognizer,
    )
    from tldextract import TLDExtract

    # Presidio's own check of the domain asks the network for the list of public suffixes; the list
    # that comes with the package is enough.
    suffixes = TLDExtract(cache_dir=None, suffix_list_urls=())

    class OfflineEmailRecognizer(EmailRecognizer):
        def validate_result(self, pattern_text: str) -> Any:
            return suffixes(pattern_text).fqdn != ""

    recognizers = (
        OfflineEmailRecognizer(),
        PhoneRecognizer(),
        CreditCardRecognizer(),
        IbanRecognizer(),
        IpRecognizer(),
        UsSsnRecognizer(),
        UkNinoRecognizer(),
    )
    return dict(zip(KINDS, recognizers, strict=True))
