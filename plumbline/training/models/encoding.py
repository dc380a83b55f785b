"""Rows to token ids, exactly as the tokenizer's chat template gives them, with no text ever
becoming a control token.

The reference is `apply_chat_template(..., sanitize_control_tokens=True)`, set by us and never by
data. It costs a Jinja rendering for each conversation. For our own chat template the same ids come
from tokenizing every text once and putting the control tokens around it, because the control tokens
cut the text before the tokenizer's model sees it. Texts that hold a control token, or a character
that transformers uses to mark one, always take the reference way: there, the marks change where the
text is cut.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Generic, NamedTuple, TypeVar

from plumbline.schema.conversations import Message
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.preferences import Demonstration, PreferencePair
from plumbline.training.models.chat_template import ASSISTANT, CHAT_TEMPLATE, CONTROL_TOKENS, END
from plumbline.training.models.tokenizers import control_ids

Row = TypeVar("Row")
PRIVATE_USE = "\ue000-\uf8ff\U000f0000-\U0010ffff"
"""Characters without a meaning of their own; transformers marks control tokens with two of them."""


class Encoded(NamedTuple):
    """A prompt with one response."""

    prompt: list[int]
    """The prompt with the opening of the response: what the policy sees when it generates."""
    ids: list[int]
    """Prompt and response, with the end of the response."""

    @property
    def response(self) -> list[int]:
        """What follows the prompt."""
        return self.ids[len(self.prompt) :]


class EncodedPair(NamedTuple):
    """A prompt with two responses."""

    chosen: Encoded
    rejected: Encoded


Ids = TypeVar("Ids", Encoded, EncodedPair, list[int])


@dataclass(frozen=True)
class EncodedRows(Generic[Row, Ids]):
    """The rows of one split that a job uses, their ids in the same order, and how many were left
    out for which reason."""

    rows: list[Row]
    ids: list[Ids]
    rows_in: int
    dropped: dict[str, int]

    @property
    def counts(self) -> dict[str, Any]:
        """`{in, used, dropped}` for the facts of the job."""
        return {"in": self.rows_in, "used": len(self.rows), "dropped": self.dropped}


Demonstrations = EncodedRows[Demonstration, Encoded]
Pairs = EncodedRows[PreferencePair, EncodedPair]
Prompts = EncodedRows[EvalPrompt, list[int]]


class ChatEncoder:
    """Renders conversations with one tokenizer."""

    def __init__(self, tokenizer: Any, max_length: int) -> None:
        self.tokenizer = tokenizer
        self.max_length = max_length
        self._control = control_ids(tokenizer)
        tokens = sorted(
            (re.escape(token.content) for token in tokenizer.added_tokens_decoder.values()),
            key=len,
            reverse=True,
        )
        self._hostile = re.compile("|".join([*tokens, f"[{PRIVATE_USE}]"]))
        self._own_template = tokenizer.chat_template == CHAT_TEMPLATE
        self._ids = (
            {token: int(tokenizer.convert_tokens_to_ids(token)) for token in CONTROL_TOKENS}
            if self._own_template
            else {}
        )
        self._expected: dict[tuple[str, ...], int] = {}

    def prompts(self, prompts: Sequence[tuple[Message, ...]]) -> list[list[int]]:
        """Ids of each prompt with the opening of the response."""
        texts = self._text_ids(message.content for prompt in prompts for message in prompt)
        return [self._prompt(prompt, texts) for prompt in prompts]

    def responses(
        self, prompts: Sequence[tuple[Message, ...]], responses: Sequence[str]
    ) -> list[Encoded]:
        """Ids of each prompt with its response."""
        texts = self._text_ids(
            [*(message.content for prompt in prompts for message in prompt), *responses]
        )
        return [
            self._response(prompt, response, texts)
            for prompt, response in zip(prompts, responses, strict=True)
        ]

    def expected_control_tokens(self, prompt: tuple[Message, ...]) -> int:
        """How many control tokens the template itself places in a prompt of these roles with a
        response: counted with harmless contents."""
        roles = (*(message.role for message in prompt), "assistant")
        if roles not in self._expected:
            messages = [{"role": role, "content": "a"} for role in roles]
            opening = self._reference(messages[:-1], add_generation_prompt=True)
            self._expected[roles] = sum(
                token in self._control
                for token in self.up_to_end(opening, self._reference(messages))
            )
        return self._expected[roles]

    def hostile(self, *texts: str) -> bool:
        """Whether a text holds a control token, or a character that marks one."""
        return any(self._hostile.search(text) for text in texts)

    def up_to_end(self, opening: Sequence[int], ids: list[int]) -> list[int]:
        """Prompt and response without what a template writes after the end of the response, often a
        line feed: no policy should learn that."""
        end = self.tokenizer.eos_token_id
        last = max(
            (position for position in range(len(opening), len(ids)) if ids[position] == end),
            default=len(ids) - 1,
        )
        return ids[: last + 1]

    def _text_ids(self, texts: Any) -> dict[str, list[int]]:
        """Ids of every distinct text without control tokens; empty for a template that is not
        ours."""
        if not self._own_template:
            return {}
        plain = [text for text in dict.fromkeys(texts) if not self.hostile(text)]
        encodings = self.tokenizer.backend_tokenizer.encode_batch_fast(
            plain, add_special_tokens=False
        )
        return {text: encoding.ids for text, encoding in zip(plain, encodings, strict=True)}

    def _prompt(self, prompt: tuple[Message, ...], texts: dict[str, list[int]]) -> list[int]:
        if any(message.content not in texts for message in prompt):
            return self._reference(_messages(prompt), add_generation_prompt=True)
        ids: list[int] = []
        for message in prompt:
            ids += [self._ids[f"<|{message.role}|>"], *texts[message.content]]
            if message.role == "assistant":
                ids.append(self._ids[END])
        return [*ids, self._ids[ASSISTANT]]

    def _response(
        self, prompt: tuple[Message, ...], response: str, texts: dict[str, list[int]]
    ) -> Encoded:
        opening = self._prompt(prompt, texts)
        if response not in texts or any(message.content not in texts for message in prompt):
            ids = self._reference([*_messages(prompt), {"role": "assistant", "content": response}])
            return Encoded(opening, self.up_to_end(opening, ids))
        return Encoded(opening, [*opening, *texts[response], self._ids[END]])

    def _reference(
        self, messages: list[dict[str, str]], *, add_generation_prompt: bool = False
    ) -> list[int]:
        rendered = self.tokenizer.apply_chat_template(
            messages, add_generation_prompt=add_generation_prompt, sanitize_control_tokens=True
        )
        return list(rendered["input_ids"])


def encode_demonstrations(encoder: ChatEncoder, rows: Sequence[Demonstration]) -> Demonstrations:
    """Demonstrations to ids; a row that cannot be trained on is left out and counted."""
    encoded = encoder.responses([row.prompt for row in rows], [row.response for row in rows])
    reasons = [
        _prompt_problem(row.prompt) or _response_problem(row.response) or _too_long(encoder, ids)
        for row, ids in zip(rows, encoded, strict=True)
    ]
    return _keep(rows, encoded, reasons)


def encode_pairs(encoder: ChatEncoder, rows: Sequence[PreferencePair]) -> Pairs:
    """Preference pairs to ids; a pair that cannot be trained on is left out whole and counted."""
    prompts = [row.prompt for row in rows]
    both = encoder.responses(
        [*prompts, *prompts], [*(row.chosen for row in rows), *(row.rejected for row in rows)]
    )
    encoded = [
        EncodedPair(chosen, rejected)
        for chosen, rejected in zip(both[: len(rows)], both[len(rows) :], strict=True)
    ]
    reasons = [
        _prompt_problem(row.prompt)
        or _response_problem(row.chosen)
        or _response_problem(row.rejected)
        or _too_long(encoder, *pair)
        or ("same tokens in both responses" if pair.chosen.ids == pair.rejected.ids else None)
        for row, pair in zip(rows, encoded, strict=True)
    ]
    return _keep(rows, encoded, reasons)


def encode_prompts(encoder: ChatEncoder, rows: Sequence[EvalPrompt], new_tokens: int) -> Prompts:
    """Held-out prompts to ids; a prompt that leaves no room for `new_tokens` is left out and
    counted."""
    encoded = encoder.prompts([row.prompt for row in rows])
    reasons = [
        _prompt_problem(row.prompt)
        or ("too long" if len(ids) + new_tokens > encoder.max_length else None)
        for row, ids in zip(rows, encoded, strict=True)
    ]
    return _keep(rows, encoded, reasons)


def _messages(prompt: tuple[Message, ...]) -> list[dict[str, str]]:
    return [{"role": message.role, "content": message.content} for message in prompt]


def _prompt_problem(prompt: tuple[Message, ...]) -> str | None:
    if prompt[-1].role != "user":
        return "prompt does not end with the user"
    return None if prompt[-1].content.strip() else "empty prompt"


def _response_problem(response: str) -> str | None:
    return None if response.strip() else "empty response"


def _too_long(encoder: ChatEncoder, *sequences: Encoded) -> str | None:
    return "too long" if any(len(row.ids) > encoder.max_length for row in sequences) else None


def _keep(
    rows: Sequence[Row], encoded: Sequence[Ids], reasons: Sequence[str | None]
) -> EncodedRows[Row, Ids]:
    kept = [
        (row, ids)
        for row, ids, reason in zip(rows, encoded, reasons, strict=True)
        if reason is None
    ]
    dropped = Counter(reason for reason in reasons if reason is not None)
    return EncodedRows(
        [row for row, _ in kept], [ids for _, ids in kept], len(rows), dict(sorted(dropped.items()))
    )
