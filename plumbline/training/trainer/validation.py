"""Scores of sequences under a model, for validation metrics and samples."""

from collections.abc import Iterator, Sequence
from typing import Any

import torch
from torch import Tensor

from plumbline.objectives.losses import PairLogps, sequence_logps
from plumbline.training.models.encoding import Encoded, EncodedPair

BATCH = 128
"""Most sequences scored at once; the scores do not depend on it beyond rounding."""
MAX_LOGITS = 2**28
"""Most logits held at once: a gibibyte in float32, which a vocabulary of 150,000 tokens fills with
1,800 positions."""


def response_logps(model: Any, sequences: Sequence[Encoded]) -> Tensor:
    """Log-probability of each response, its end token included, given its prompt; shape (n,),
    float32 on the CPU, in nats."""
    scores = torch.empty(len(sequences))
    everything = [sequence.ids for sequence in sequences]
    with torch.inference_mode():
        for index, ids, attention in _batches(model, everything, model.config.vocab_size):
            # ids and attention are (b, t), padded on the right; a response starts where its prompt
            # ends and goes on to the last token that is not padding.
            prompts = [len(sequences[position].prompt) for position in index]
            starts = torch.tensor(prompts, device=ids.device)[:, None]  # (b, 1)
            places = torch.arange(ids.shape[1], device=ids.device)[None]  # (1, t)
            supervised = attention.bool() & (places >= starts)
            # Logits are kept from the position before the first response on: it predicts its first
            # token, and what every row only reads needs no vocabulary.
            read_only = min(prompts) - 1
            logits = model(
                input_ids=ids,
                attention_mask=attention,
                use_cache=False,
                logits_to_keep=ids.shape[1] - read_only,
            ).logits  # (b, t - read_only, v)
            logps = sequence_logps(logits, ids[:, read_only:], supervised[:, read_only:])
            scores[index] = logps.cpu()
    return scores


def rewards(model: Any, sequences: Sequence[Sequence[int]]) -> Tensor:
    """Reward of each sequence, read at its last token; shape (n,), float32 on the CPU."""
    scores = torch.empty(len(sequences))
    with torch.inference_mode():
        for index, ids, attention in _batches(model, sequences, 1):
            scores[index] = (
                model(input_ids=ids, attention_mask=attention, use_cache=False)
                .logits.squeeze(-1)
                .float()
                .cpu()
            )
    return scores


def pair_logps(model: Any, pairs: Sequence[EncodedPair]) -> PairLogps:
    """Log-probabilities of both responses of each pair."""
    scores = response_logps(
        model, [*(pair.chosen for pair in pairs), *(pair.rejected for pair in pairs)]
    )
    return PairLogps(scores[: len(pairs)], scores[len(pairs) :])


def share_above(chosen: Tensor, rejected: Tensor) -> float:
    """Share of pairs whose chosen score is the higher one, ties counted half."""
    return float(((chosen > rejected).float() + 0.5 * (chosen == rejected).float()).mean())


def _batches(
    model: Any, sequences: Sequence[Sequence[int]], outputs: int
) -> Iterator[tuple[list[int], Tensor, Tensor]]:
    """Batches of similar length: positions in `sequences`, ids padded on the right, and their
    attention mask.

    Args:
        model: Says where the tensors must be and which token pads.
        sequences: Ids of each sequence.
        outputs: Numbers that the model gives for each position.
    """
    model.eval()
    pad = model.config.pad_token_id
    order = sorted(range(len(sequences)), key=lambda position: len(sequences[position]))
    size = max(1, min(BATCH, MAX_LOGITS // (outputs * max(map(len, sequences), default=1))))
    for start in range(0, len(order), size):
        index = order[start : start + size]
        longest = len(sequences[index[-1]])
        ids = torch.tensor(
            [[*sequences[i], *[pad] * (longest - len(sequences[i]))] for i in index],
            device=model.device,
        )
        attention = torch.tensor(
            [[1] * len(sequences[i]) + [0] * (longest - len(sequences[i])) for i in index],
            device=model.device,
        )
        yield index, ids, attention
