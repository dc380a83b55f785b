"""Words of a text as the searches for duplicates and for held-out prompts read them, and stable
hashes of their n-grams.

The hashes depend on the words alone: not on the process, the platform, or the version of a library,
so they can be kept in a file.
"""

import hashlib
import itertools
import re
import unicodedata
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

VERSION = 1
"""Changes when a text would be read as other words; whatever keeps hashes names it."""

# One pass over ASCII text: letters in lower case, digits as they are, a space for all else.
_ASCII = {code: chr(code).lower() if chr(code).isalnum() else " " for code in range(128)}
# Dashes, curly quotes, bullets and the like: the only characters beyond ASCII of most English text.
_PUNCTUATION = re.compile("[\u2010-\u2027\u202f-\u205f]")
# Format characters (soft hyphen, zero width, bidi, tags), variation selectors, and combining marks
# that belong to no composed letter.
_UNSEEN = re.compile(
    "[\u00ad\u034f\u061c\u115f\u1160\u17b4\u17b5\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff9-\ufffb"
    "\u0300-\u036f\u1ab0-\u1aff\u1dc0-\u1dff\u20d0-\u20ff\U000e0000-\U000e0fff]"
)
# Scripts that write words without spaces between them: Thai, Lao, Burmese, Khmer, kana, Han.
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1780-\u17ff\u3040-\u30ff\u3400-\u4dbf\u4e00-\u9fff\U00020000-\U0003ffff])"
)
_FIRST_UNSPACED = "\u0e00"

_FACTOR = 0x9E3779B97F4A7C15
_MOST_WORDS = 2**20
"""Hashes of words that are remembered at once: about 100 MiB."""


def words(text: str) -> list[str]:
    """The words of a text: case, punctuation, Unicode look-alikes of NFKC and characters that
    nobody sees make no difference.

    A word is a run of letters and digits; in scripts without spaces between words it is one
    character. A text without any is one word: itself, without white space at its ends. Letters of
    other scripts that look alike (Cyrillic а for Latin a) stay different.
    """
    plain = text if text.isascii() else _PUNCTUATION.sub(" ", text)
    if plain.isascii():
        return plain.translate(_ASCII).split() or [_wordless(text)]
    seen = _seen(text)
    characters = set(seen)
    letters = set(filter(str.isalnum, characters))
    spaced = seen
    for character in characters - letters:  # they are few, and replacing one is fast
        spaced = spaced.replace(character, " ")
    if max(letters, default="") >= _FIRST_UNSPACED:
        spaced = _UNSPACED.sub(r" \1 ", spaced)
    return spaced.split() or [_wordless(text)]


def _seen(text: str) -> str:
    return _UNSEEN.sub("", unicodedata.normalize("NFKC", text).casefold())


def _wordless(text: str) -> str:
    return " ".join(_seen(text).split())


class Grams(NamedTuple):
    """n-grams of several texts, one after the other."""

    hashes: "NDArray[np.uint64]"
    """One 64-bit hash for each n-gram; equal n-grams have equal hashes, others differ but for a
    chance of 2**-64."""
    counts: "NDArray[np.int64]"
    """Number of n-grams of each text, at least 1."""


class WordHashes:
    """Hashes words, and remembers those of common words."""

    def __init__(self) -> None:
        self._known = _Remembered()

    def of(self, texts: Sequence[str]) -> "tuple[NDArray[np.uint64], NDArray[np.int64]]":
        """Hashes of the words of all texts, one text after the other, and the number of words of
        each text."""
        import numpy as np

        if len(self._known) > _MOST_WORDS:
            self._known.clear()
        lists = [words(text) for text in texts]
        counts = np.fromiter(map(len, lists), dtype=np.int64, count=len(lists))
        values = map(self._known.__getitem__, itertools.chain.from_iterable(lists))
        return np.fromiter(values, dtype=np.uint64, count=int(counts.sum())), counts


class _Remembered(dict[str, int]):
    def __missing__(self, word: str) -> int:
        # Surrogates without a partner cannot be written as UTF-8; `surrogatepass` gives each its
        # own bytes.
        digest = hashlib.blake2b(word.encode("utf-8", "surrogatepass"), digest_size=8).digest()
        value = self[word] = int.from_bytes(digest, "big")
        return value


def grams(hashes: "NDArray[np.uint64]", counts: "NDArray[np.int64]", order: int) -> Grams:
    """The n-grams of texts whose word hashes stand one after the other.

    Args:
        hashes: Hashes of the words.
        counts: Words of each text, at least 1.
        order: Words in an n-gram; a text with fewer words is one n-gram.
    """
    import numpy as np

    orders = np.minimum(counts, order)
    numbers = counts - orders + 1
    first_word = np.cumsum(counts) - counts
    first_gram = np.cumsum(numbers) - numbers
    starts = np.arange(int(numbers.sum())) + np.repeat(first_word - first_gram, numbers)
    own_orders = np.repeat(orders, numbers).astype(np.uint64)
    factor, total = np.uint64(_FACTOR), np.zeros(len(starts), dtype=np.uint64)
    shortest = int(orders.min(initial=order))
    for position in range(order):
        if position < shortest:
            total = total * factor + hashes[starts + position]
        else:
            longer = own_orders > position
            total[longer] = total[longer] * factor + hashes[starts[longer] + position]
    return Grams(mix(total + own_orders), numbers)


def mix(values: "NDArray[np.uint64]") -> "NDArray[np.uint64]":
    """Spread 64-bit values evenly: the finalizer of SplitMix64 (Steele, Lea and Flood 2014), a
    permutation of the 64-bit numbers."""
    import numpy as np

    values = (values ^ (values >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    values = (values ^ (values >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return values ^ (values >> np.uint64(31))
