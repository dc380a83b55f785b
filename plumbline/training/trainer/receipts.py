"""Mask receipts from what a trainer really holds, for each kind of training job."""

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from plumbline.errors import TrainingError
from plumbline.objectives.masks import (
    MaskedSequence,
    MaskReceipt,
    SplitReceipt,
    Vocabulary,
    build_receipt,
    check_receipt,
)
from plumbline.schema.kinds import MASK_RECEIPT_FILE
from plumbline.schema.preferences import PreferencePair
from plumbline.storage.artifacts import write_atomically
from plumbline.training.models.encoding import (
    ChatEncoder,
    Demonstrations,
    Encoded,
    EncodedPair,
    Pairs,
)
from plumbline.training.models.tokenizers import control_ids

IGNORED = -100
"""The label of an unsupervised token."""


def vocabulary(tokenizer: Any) -> Vocabulary:
    """What the receipt must know about a tokenizer."""
    return Vocabulary(
        frozenset({tokenizer.eos_token_id}),
        tokenizer.bos_token_id,
        control_ids(tokenizer),
        tokenizer.convert_ids_to_tokens,
    )


def sft_receipt(trainer: Any, rows: Demonstrations, encoder: ChatEncoder) -> SplitReceipt:
    """Receipt of a supervised job, from the labels that the trainer holds.

    Raises:
        TrainingError: If the trainer holds other rows than it was given, or its collator changes
            them.
    """
    dataset = trainer.train_dataset
    require_rows(len(dataset), len(rows.rows))
    ids, labels = dataset["input_ids"][:], dataset["labels"][:]
    batch = trainer.data_collator([dataset[index] for index in range(min(4, len(dataset)))])
    for index, (row, label) in enumerate(
        zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True)
    ):
        length = len(ids[index])
        if (
            row[:length] != ids[index]
            or label[:length] != labels[index]
            or set(label[length:]) - {IGNORED}
        ):
            raise TrainingError(f"the collator changed row {index}: {row} with labels {label}")
    if any(
        token not in (IGNORED, own)
        for own_ids, row in zip(ids, labels, strict=True)
        for own, token in zip(own_ids, row, strict=True)
    ):
        raise TrainingError("a label is neither its own token nor ignored: the labels are shifted")
    sequences = (
        MaskedSequence(
            own,
            [label != IGNORED for label in row],
            encoded.prompt,
            encoder.expected_control_tokens(demonstration.prompt),
        )
        for own, row, encoded, demonstration in zip(ids, labels, rows.ids, rows.rows, strict=True)
    )
    return build_receipt(
        sequences,
        vocabulary(encoder.tokenizer),
        rows_in=rows.rows_in,
        rows_used=len(dataset),
        dropped=rows.dropped,
    )


def dpo_receipt(trainer: Any, rows: Pairs, encoder: ChatEncoder) -> SplitReceipt:
    """Receipt of a DPO job, from the ids that the trainer holds and the completion mask of its
    collator.

    Raises:
        TrainingError: If the trainer holds other rows than it was given, or its collator does not
            mask exactly the prompt.
    """
    dataset = trainer.train_dataset
    require_rows(len(dataset), len(rows.rows))
    prompts, chosen, rejected = (
        dataset["prompt_ids"][:],
        dataset["chosen_ids"][:],
        dataset["rejected_ids"][:],
    )
    batch = trainer.data_collator([dataset[index] for index in range(min(4, len(dataset)))])
    mask, half = batch["completion_mask"].tolist(), len(batch["input_ids"]) // 2
    for index in range(half):
        for row, response in ((mask[index], chosen[index]), (mask[half + index], rejected[index])):
            expected = [0] * len(prompts[index]) + [1] * len(response)
            if row != expected + [0] * (len(row) - len(expected)):
                raise TrainingError(
                    f"pair {rows.rows[index].id}: the collator's mask is {row}, expected {expected}"
                    " and padding"
                )

    def sequences() -> Iterator[MaskedSequence]:
        for index, (row, own) in enumerate(zip(rows.rows, rows.ids, strict=True)):
            census = encoder.expected_control_tokens(row.prompt)
            for response, encoded in ((chosen[index], own.chosen), (rejected[index], own.rejected)):
                supervised = [False] * len(prompts[index]) + [True] * len(response)
                yield MaskedSequence(prompts[index] + response, supervised, encoded.prompt, census)

    return build_receipt(
        sequences(),
        vocabulary(encoder.tokenizer),
        rows_in=rows.rows_in,
        rows_used=len(dataset),
        dropped=rows.dropped,
    )


def reward_receipt(trainer: Any, rows: Pairs, encoder: ChatEncoder) -> SplitReceipt:
    """Receipt of a reward job: one token of each sequence is supervised, the one at which the model
    reads the reward.

    Raises:
        TrainingError: If the trainer holds other rows than it was given.
    """
    dataset = trainer.train_dataset
    require_rows(len(dataset), len(rows.rows))
    chosen, rejected = dataset["chosen_ids"][:], dataset["rejected_ids"][:]
    pairs = [
        EncodedPair(Encoded(own.chosen.prompt, good), Encoded(own.rejected.prompt, bad))
        for own, good, bad in zip(rows.ids, chosen, rejected, strict=True)
    ]
    return build_receipt(
        _reward_sequences(rows.rows, pairs, encoder),
        vocabulary(encoder.tokenizer),
        rows_in=rows.rows_in,
        rows_used=len(dataset),
        dropped=rows.dropped,
    )


def validation_receipt(rows: Pairs, encoder: ChatEncoder, *, reward: bool) -> SplitReceipt:
    """Receipt of the validation split, which our own losses read: the same polarity, but nothing is
    learned from it."""
    sequences = (
        _reward_sequences(rows.rows, rows.ids, encoder)
        if reward
        else _response_sequences(rows, encoder)
    )
    return build_receipt(
        sequences,
        vocabulary(encoder.tokenizer),
        rows_in=rows.rows_in,
        rows_used=len(rows.rows),
        dropped=rows.dropped,
    )


def write_receipt(receipt: MaskReceipt, *folders: Path) -> None:
    """Write the mask receipt into folders, then judge it.

    Raises:
        MaskBreach: If the receipt shows tokens that must not be trained, or none that must.
    """
    for folder in folders:
        write_atomically(folder / MASK_RECEIPT_FILE, receipt.to_json())
    check_receipt(receipt)


def require_same_tokens(
    dataset: Any, rows: Sequence[PreferencePair], pairs: Sequence[EncodedPair], encoder: ChatEncoder
) -> None:
    """Check that TRL made the same ids of these conversations as we did, up to the end of the
    response.

    Raises:
        TrainingError: Names the first pair that TRL left out or reads differently.
    """
    require_rows(len(dataset), len(rows))
    columns = (dataset["prompt_ids"][:], dataset["chosen_ids"][:], dataset["rejected_ids"][:])
    for row, pair, prompt, chosen, rejected in zip(rows, pairs, *columns, strict=True):
        read = [
            Encoded(prompt, encoder.up_to_end(prompt, prompt + response))
            for response in (chosen, rejected)
        ]
        if read != [pair.chosen, pair.rejected]:
            raise TrainingError(
                f"pair {row.id}: TRL reads {read}, the chat template gives {list(pair)}"
            )


def require_rows(held: int, given: int) -> None:
    """Check TRL's row count.

    Raises:
        TrainingError: If the trainer holds more or fewer rows than it was given.
    """
    if held != given:
        raise TrainingError(
            f"the trainer holds {held} rows, but {given} were handed over; rows must not be dropped"
            " without a reason"
        )


def _reward_sequences(
    rows: Sequence[PreferencePair], pairs: Sequence[EncodedPair], encoder: ChatEncoder
) -> Iterator[MaskedSequence]:
    pad = encoder.tokenizer.pad_token_id
    for row, pair in zip(rows, pairs, strict=True):
        census = encoder.expected_control_tokens(row.prompt)
        for prompt, ids in pair:
            # As the model does: the reward is read at the last token that is not padding.
            read_at = max(
                (position for position, token in enumerate(ids) if token != pad), default=-1
            )
            supervised = [position == read_at for position in range(len(ids))]
            yield MaskedSequence(ids, supervised, prompt, census)


def _response_sequences(rows: Pairs, encoder: ChatEncoder) -> Iterator[MaskedSequence]:
    for row, pair in zip(rows.rows, rows.ids, strict=True):
        census = encoder.expected_control_tokens(row.prompt)
        for prompt, ids in pair:
            supervised = [position >= len(prompt) for position in range(len(ids))]
            yield MaskedSequence(ids, supervised, prompt, census)
