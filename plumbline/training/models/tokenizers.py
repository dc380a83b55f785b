"""Tokenizers: built from the demonstrations for models made from scratch, or fixed by the revision
of a hub model."""

import math
import re
from collections import Counter
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from plumbline.errors import TrainingError
from plumbline.profile.models import HubModel, ScratchModel
from plumbline.storage.artifacts import hash_file
from plumbline.training.models.chat_template import (
    ASSISTANT,
    CHAT_TEMPLATE,
    CONTROL_TOKENS,
    END,
    PAD,
    SYSTEM,
    USER,
)

# An explicit class instead of \w or \p{L}: Python and the tokenizer's engine must cut every text in
# the same places.
LETTERS = "a-zA-ZÀ-ÖØ-öø-ÿ"
WORD = f" ?[{LETTERS}]+|[^{LETTERS}]"
SPACE = "▁"
"""How the tokenizer writes a space."""
UNKNOWN = "\N{REPLACEMENT CHARACTER}"
"""What the `words` tokenizer reads for a character that it does not know; ordinary text, not a
control token."""
CHARACTERS = "".join(chr(code) for code in range(33, 127)) + "áéíñóúüÁÉÍÑÓÚÜ¿¡\n" + SPACE
"""Characters that the `words` tokenizer knows even when no demonstration has them, so that it can
spell an unseen word."""
SPELLING_LOGP = -18.0
"""Score of a single character, in nats: below any word's, so that a known word is never spelled."""


def build_tokenizer(model: ScratchModel, texts: Iterable[str]) -> Any:
    """A tokenizer with our chat template, made from the demonstrations; the same texts give the
    same bytes.

    Args:
        model: Which tokenizer, its vocabulary and the longest sequence.
        texts: Contents of the messages, without any template.

    Returns:
        A `PreTrainedTokenizerFast`; `<|pad|>` is not the end token, because a reward is read at the
        last token that is not padding.
    """
    backend = _words(texts) if model.vocabulary is None else _bytes(texts, model.vocabulary)
    tokenizer = PreTrainedTokenizerFast(
        tokenizer_object=backend,
        pad_token=PAD,
        eos_token=END,
        additional_special_tokens=[USER, ASSISTANT, SYSTEM],
        clean_up_tokenization_spaces=False,
        padding_side="right",
        model_max_length=model.max_length,
    )
    tokenizer.chat_template = CHAT_TEMPLATE
    return tokenizer


def _words(texts: Iterable[str]) -> Any:
    """Whole words with their leading space, and single characters to spell what is left; nothing is
    learned but the counts."""
    counts = Counter(
        piece.replace(" ", SPACE) for text in texts for piece in re.findall(WORD, text)
    )
    characters = sorted({*CHARACTERS, *(piece for piece in counts if len(piece) == 1)} - {UNKNOWN})
    total = sum(counts.values())
    words = [
        (piece, math.log(count / total))
        for piece, count in sorted(counts.items())
        if len(piece) > 1
    ]
    spelled = [(character, SPELLING_LOGP) for character in characters]
    vocabulary = (
        [(token, 0.0) for token in CONTROL_TOKENS] + [(UNKNOWN, SPELLING_LOGP)] + spelled + words
    )
    backend = Tokenizer(models.Unigram(vocab=vocabulary, unk_id=len(CONTROL_TOKENS)))
    backend.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(WORD), "isolated"),
            pre_tokenizers.Metaspace(replacement=SPACE, prepend_scheme="never", split=False),
        ]
    )
    backend.decoder = decoders.Metaspace(replacement=SPACE, prepend_scheme="never")
    backend.add_special_tokens(list(CONTROL_TOKENS))
    return backend


def _bytes(texts: Iterable[str], size: int) -> Any:
    """Byte-level byte-pair encoding (Sennrich et al. 2016): no text is unknown."""
    backend = Tokenizer(models.BPE())
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=list(CONTROL_TOKENS),
        min_frequency=2,
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    backend.train_from_iterator(texts, trainer)
    return backend


def load_tokenizer(source: Path | HubModel) -> Any:
    """The tokenizer of a saved model, or of a hub model at its exact revision; no code from either
    is run.

    Raises:
        TrainingError: If it has no chat template, no end token, or pads with the end token and has
            nothing else to pad with.
    """
    if isinstance(source, HubModel):
        tokenizer = AutoTokenizer.from_pretrained(
            source.name, revision=source.revision, trust_remote_code=False
        )
        tokenizer.model_max_length = source.max_length
    else:
        tokenizer = AutoTokenizer.from_pretrained(
            str(source), trust_remote_code=False, local_files_only=True
        )
        for name in (
            "is_local",
            "local_files_only",
        ):  # how it was loaded is no part of what it is, but would be saved with it
            tokenizer.init_kwargs.pop(name, None)
    where = source.name if isinstance(source, HubModel) else source
    if not tokenizer.chat_template:
        raise TrainingError(f"{where}: the tokenizer has no chat template; choose a chat model")
    if tokenizer.eos_token_id is None:
        raise TrainingError(f"{where}: the tokenizer has no end token, so no response could end")
    if tokenizer.pad_token_id is None or tokenizer.pad_token_id == tokenizer.eos_token_id:
        spare = _spare_token(tokenizer)
        if spare is None:
            raise TrainingError(
                f"{where}: padding needs a token of its own, because a reward is read at the last"
                " token that is not padding"
            )
        tokenizer.pad_token = spare
    return tokenizer


def _spare_token(tokenizer: Any) -> str | None:
    """A special token that neither ends responses nor stands in the chat template, so that padding
    with it changes nothing."""
    for token in tokenizer.all_special_tokens:
        if token != tokenizer.eos_token and token not in tokenizer.chat_template:
            return str(token)
    return None


def control_ids(tokenizer: Any) -> frozenset[int]:
    """Ids of the tokens that text must never become: the special tokens, and added tokens that the
    chat template writes."""
    added = tokenizer.added_tokens_decoder
    return frozenset(
        index
        for index, token in added.items()
        if token.special
        or (token.content in tokenizer.chat_template and not token.content.isspace())
    )


def tokenizer_digest(folder: Path) -> str:
    """Digest of the vocabulary and the rules of a saved tokenizer: that of its `tokenizer.json`."""
    return hash_file(folder / "tokenizer.json").digest
