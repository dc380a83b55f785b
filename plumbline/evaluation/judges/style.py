"""The style of a response, apart from its content: length and courtesies. A judge must not pay for
either."""

import re
from typing import Final

_COURTESIES: Final = re.compile(
    r"\b(?:please|thank(?:s| you)|kindly|of course|certainly|absolutely|great question|good"
    r" question|happy to help|glad to help|glad you asked"
    r"|my pleasure|i hope (?:this|that) helps|feel free|let me know|wonderful|have a"
    r" (?:great|nice|lovely) day|por favor|gracias|con gusto|de nada)\b",
    re.IGNORECASE,
)
BEFORE: Final = "Thank you so much for your question, I am happy to help!"
AFTER: Final = (
    "I hope this helps. Please feel free to ask whenever you like, and have a lovely day!"
)


def courtesies(text: str) -> int:
    """How many polite phrases, in English or Spanish, a text holds."""
    return len(_COURTESIES.findall(text))


def made_courteous(text: str) -> str:
    """A text with the same content between polite phrases."""
    return f"{BEFORE} {text} {AFTER}"
