"""Control tokens: text that a chat template would read as the boundary of a turn."""

import re
import unicodedata
from collections.abc import Iterable

from plumbline.data.schema import Message

# `<|user|>`, `<|end|>`, `<|pad|>`, ChatML `<|im_start|>`, Llama 3 `<|eot_id|>`, DeepSeek `<｜end▁of▁sentence｜>` and others of that shape; Gemma; Llama 2.
_PATTERN = re.compile(r"<\|[A-Za-z0-9_▁-]{1,40}\|>|<(?:start|end)_of_turn>|\[/?INST\]|<</?SYS>>")


def find_control_token(text: str) -> str | None:
    """The first control token in a text, or None.

    The text is searched as it stands and after NFKC, because full-width look-alikes become control tokens when a tokenizer normalizes.
    """
    found = _PATTERN.search(text)
    if found is None and not text.isascii():
        found = _PATTERN.search(unicodedata.normalize("NFKC", text))
    return None if found is None else found.group()


def has_control_token(prompt: Iterable[Message], *texts: str) -> bool:
    """Whether a conversation or one of its responses holds a control token."""
    return any(find_control_token(message.content) for message in prompt) or any(find_control_token(text) for text in texts)
