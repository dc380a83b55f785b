"""Which prompts and judged pairs count as the same, and on which side of the split a prompt group
stands."""

import hashlib
import json
import unicodedata
from collections.abc import Iterable, Sequence

from plumbline.profile.data import SplitShares
from plumbline.schema.conversations import Message
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.preferences import Split


def prompt_key(prompt: Sequence[Message]) -> str:
    """Digest of a conversation that ignores letter case, white space, Unicode look-alikes (NFKC)
    and system messages.

    A system message is left out because the same question under another system message is still the
    same question. Paraphrases and near duplicates have different keys.
    """
    turns = _turns(
        (message.role, _normalized(message.content))
        for message in prompt
        if message.role != "system"
    )
    return _digest(f"[{turns}]")


def judged_pair(prompt: Sequence[Message], responses: Iterable[str]) -> str:
    """Digest of a prompt and an unordered pair of responses, exactly as they stand: votes with the
    same digest belong together."""
    turns = _turns((message.role, message.content) for message in prompt)
    return _digest(f"[[{turns}],[{','.join(map(_quoted, sorted(responses)))}]]")


def pair_id(prompt: Sequence[Message], responses: Iterable[str]) -> str:
    """Id of a pair, chosen before rejected, or of one labelled response; votes are not part of it,
    so that it stays when more people judge."""
    turns = _turns((message.role, message.content) for message in prompt)
    return _digest(f"[[{turns}],{','.join(map(_quoted, responses))}]")[:40]


def held_out_keys(prompts: Iterable[EvalPrompt]) -> frozenset[str]:
    """Keys of the prompts in the eval vault."""
    return frozenset(prompt_key(item.prompt) for item in prompts)


def split_of(key: str, shares: SplitShares, seed: int) -> Split:
    """The split of a prompt group: a function of its key and the seed alone, so that it stays when
    data is added."""
    position = int(_digest(f"[{seed},{_quoted(key)}]")[:16], 16) / 2**64  # in [0, 1)
    if position < shares.validation:
        return "validation"
    return "calibration" if position < shares.validation + shares.calibration else "train"


def _normalized(text: str) -> str:
    folded = text.lower() if text.isascii() else unicodedata.normalize("NFKC", text).casefold()
    return " ".join(folded.split())


# Canonical JSON of these small shapes by hand: it is six times as fast as encoding lists, and every
# vote needs four of them.
_quoted = json.JSONEncoder(ensure_ascii=False).encode


def _turns(turns: Iterable[tuple[str, str]]) -> str:
    return ",".join(f'["{role}",{_quoted(content)}]' for role, content in turns)


def _digest(text: str) -> str:
    """SHA-256 of a line of canonical JSON."""
    return hashlib.sha256(f"{text}\n".encode()).hexdigest()
