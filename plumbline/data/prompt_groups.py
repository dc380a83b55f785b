"""Which prompts and judged pairs count as the same, and on which side of the split a prompt group stands."""

import hashlib
import unicodedata
from collections.abc import Iterable, Sequence
from typing import Literal

from plumbline.data.rules import SplitShares
from plumbline.data.schema import EvalPrompt, Message
from plumbline.records import canonical_json

Split = Literal["train", "validation", "calibration"]
SPLITS: tuple[Split, ...] = ("train", "validation", "calibration")


def prompt_key(prompt: Sequence[Message]) -> str:
    """Digest of a conversation that ignores letter case, white space, Unicode look-alikes (NFKC) and system messages.

    A system message is left out because the same question under another system message is still the same question.
    Paraphrases and near duplicates have different keys.
    """
    turns = [[message.role, _normalized(message.content)] for message in prompt if message.role != "system"]
    return hashlib.sha256(canonical_json(turns)).hexdigest()


def judged_pair(prompt: Sequence[Message], responses: Iterable[str]) -> str:
    """Digest of a prompt and an unordered pair of responses, exactly as they stand: votes with the same digest belong together."""
    turns = [[message.role, message.content] for message in prompt]
    return hashlib.sha256(canonical_json([turns, sorted(responses)])).hexdigest()


def held_out_keys(prompts: Iterable[EvalPrompt]) -> frozenset[str]:
    """Keys of the prompts in the eval vault."""
    return frozenset(prompt_key(item.prompt) for item in prompts)


def split_of(key: str, shares: SplitShares, seed: int) -> Split:
    """The split of a prompt group: a function of its key and the seed alone, so that it stays when data is added."""
    digest = hashlib.sha256(canonical_json([seed, key])).digest()
    position = int.from_bytes(digest[:8], "big") / 2**64  # in [0, 1)
    if position < shares.validation:
        return "validation"
    return "calibration" if position < shares.validation + shares.calibration else "train"


def _normalized(text: str) -> str:
    return " ".join(unicodedata.normalize("NFKC", text).casefold().split())
