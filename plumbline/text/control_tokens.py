"""Control tokens: text that a chat template would read as the boundary of a turn."""

import re
import unicodedata
from collections.abc import Collection, Iterable
from functools import lru_cache
from pathlib import Path

from plumbline.errors import DataError
from plumbline.records import parse_json
from plumbline.schema.conversations import Message

# `<|user|>`, `<|end|>`, `<|pad|>`, ChatML `<|im_start|>`, Llama 3 `<|eot_id|>`, DeepSeek
# `<｜end▁of▁sentence｜>` and others of that shape; Gemma `<start_of_turn>`, `<bos>`; Llama 2 and
# Mistral `[INST]`, `<<SYS>>`, `[TOOL_CALLS]`; GLM `[gMASK]`.
_PATTERN = re.compile(
    r"<\|[A-Za-z0-9_▁-]{1,40}\|>|<(?:start|end)_of_[a-z]{2,20}>|<(?:bos|eos|pad|unk)>|\[/?(?:INST|AVAILABLE_TOOLS|TOOL_RESULTS|SYSTEM_PROMPT)\]"
    r"|\[TOOL_CALLS\]|\[gMASK\]|<</?SYS>>"
)
_IGNORED = re.compile("[\u00ad\u200b-\u200d\u2060-\u2064\ufe00-\ufe0f\ufeff\U000e0000-\U000e007f]")


def find_control_token(text: str, tokens: Collection[str] = ()) -> str | None:
    """The first control token in a text, or None.

    The text is searched as it stands, after NFKC, and after NFKC without characters of no width,
    because full-width look-alikes and split tokens become control tokens when a tokenizer
    normalizes.

    Args:
        text: Any text.
        tokens: Further control tokens, those of the template in use (see `template_tokens`);
            `<think>` and `</s>` are only such.
    """
    plain_ascii = text.isascii()
    if plain_ascii and not tokens and "<" not in text and "[" not in text:
        return None
    pattern = _with(frozenset(tokens))
    match = pattern.search(text)
    if match is None and not plain_ascii:
        plain = unicodedata.normalize("NFKC", text)
        match = pattern.search(plain) or pattern.search(_IGNORED.sub("", plain))
    return None if match is None else match.group()


def has_control_token(prompt: Iterable[Message], *texts: str, tokens: Collection[str] = ()) -> bool:
    """Whether a conversation or one of its responses holds a control token."""
    return any(find_control_token(message.content, tokens) for message in prompt) or any(
        find_control_token(text, tokens) for text in texts
    )


def template_tokens(folder: Path) -> frozenset[str]:
    """The control tokens of a tokenizer: everything in its folder's `added_tokens`, special or not,
    that is more than one character of text.

    Special or not, because an added token is matched in plain text before anything is tokenized; a
    template may treat either as a boundary.

    Raises:
        DataError: If the folder holds neither `tokenizer.json` nor `tokenizer_config.json`, or one
            that cannot be read.
    """
    collected: set[str] = set()
    files = [
        path
        for name in ("tokenizer.json", "tokenizer_config.json")
        if (path := folder / name).is_file()
    ]
    if not files:
        raise DataError(
            f"{folder}: holds neither tokenizer.json nor tokenizer_config.json; give the folder of"
            " a tokenizer"
        )
    for path in files:
        try:
            value = parse_json(path.read_bytes())
        except (OSError, ValueError) as error:
            raise DataError(f"{path}: cannot be read: {error}") from error
        if not isinstance(value, dict):
            raise DataError(f"{path}: holds a {type(value).__name__}, expected a JSON object")
        listed = [
            *(value.get("added_tokens") or ()),
            *(value.get("added_tokens_decoder") or {}).values(),
        ]
        collected |= {
            entry["content"]
            for entry in listed
            if isinstance(entry, dict) and isinstance(entry.get("content"), str)
        }
    return frozenset(token for token in collected if len(token.strip()) > 1)


@lru_cache(maxsize=8)
def _with(tokens: frozenset[str]) -> re.Pattern[str]:
    if not tokens:
        return _PATTERN
    longest_first = sorted(tokens, key=lambda token: (-len(token), token))
    return re.compile("|".join([*map(re.escape, longest_first), _PATTERN.pattern]))
