"""The mask receipt: which tokens a training job learns from, proven before its first step.

Polarity, everywhere in this project: True (or 1) marks a supervised token, one whose probability or
reward enters the loss; False marks prompt, template and padding. TRL's `completion_mask` has the
same polarity; its `labels` mark unsupervised tokens with -100.
"""

import hashlib
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic import Field

from plumbline.errors import MaskBreach
from plumbline.records import Record


class MaskedSequence(NamedTuple):
    """One sequence as a trainer will see it, before padding."""

    ids: Sequence[int]
    supervised: Sequence[bool]
    prompt: Sequence[int]
    """Ids of the prompt as the policy sees it when it generates: they must open the sequence, or
    training and use differ."""
    control_tokens: int
    """How many control tokens the chat template itself places in this sequence; more means that
    text became a turn."""


class Vocabulary(NamedTuple):
    """What the receipt must know about a tokenizer."""

    end: frozenset[int]
    """Ids that end a response."""
    start: int | None
    """Id that opens a sequence, or None where the template has none."""
    control: frozenset[int]
    """Ids of the control tokens."""
    render: Callable[[Sequence[int]], Sequence[str]]
    """Text of each token, for people."""


class StripToken(Record):
    """One token of the rendered strip."""

    token: str
    supervised: bool


class ControlTokens(Record):
    """Census of the control tokens."""

    expected: int = Field(description="placed by the chat template")
    found: int
    mismatched: int = Field(description="sequences in which the two differ")


class SplitReceipt(Record):
    """What one split of the data trains."""

    rows_in: int
    rows_used: int
    dropped: dict[str, int] = Field(description="rows left out, by reason")
    sequences: int = Field(description="a demonstration is one sequence, a pair is two")
    supervised_tokens: int
    masked_tokens: int
    control_tokens: ControlTokens
    without_supervision: int = Field(description="sequences without a supervised token")
    broken_prompts: int = Field(
        description="sequences that the prompt does not open, or whose prompt is supervised"
    )
    unsupervised_ends: int = Field(
        description="sequences whose last token is not a supervised end of response"
    )
    doubled_starts: int = Field(description="sequences that open with two start tokens")
    mask_digest: str = Field(
        description="SHA-256 over the ids and masks of all sequences, in the order of the data"
    )
    strip: tuple[StripToken, ...] = Field(description="the first sequence, token by token")


class MaskReceipt(Record):
    """The receipt of a training job."""

    supervision: str = Field(description="what a supervised token is in this job")
    splits: dict[str, SplitReceipt]


def build_receipt(
    rows: Iterable[MaskedSequence],
    vocabulary: Vocabulary,
    *,
    rows_in: int,
    rows_used: int,
    dropped: Mapping[str, int],
) -> SplitReceipt:
    """Count and digest the sequences of one split; `check_receipt` judges.

    Args:
        rows: The sequences in the order of the data. Each list of ids and mask goes into the digest
            as its length and little-endian 32-bit integers.
        vocabulary: The tokenizer's special ids.
        rows_in: Rows of the split on disk.
        rows_used: Rows that the trainer holds.
        dropped: Rows left out, by reason.
    """
    digest = hashlib.sha256()
    counts: Counter[str] = Counter()
    strip: tuple[StripToken, ...] = ()
    for row in rows:
        if not counts["sequences"]:
            strip = tuple(
                StripToken(token=token, supervised=bool(on))
                for token, on in zip(vocabulary.render(row.ids), row.supervised, strict=True)
            )
        for name, number in _tally(row, vocabulary).items():
            counts[name] += number
        for numbers in (row.ids, row.supervised):
            digest.update(struct.pack(f"<i{len(numbers)}i", len(numbers), *numbers))
    return SplitReceipt(
        rows_in=rows_in,
        rows_used=rows_used,
        dropped=dict(sorted(dropped.items())),
        sequences=counts["sequences"],
        supervised_tokens=counts["supervised"],
        masked_tokens=counts["masked"],
        control_tokens=ControlTokens(
            expected=counts["expected"], found=counts["found"], mismatched=counts["mismatched"]
        ),
        without_supervision=counts["bare"],
        broken_prompts=counts["broken"],
        unsupervised_ends=counts["endless"],
        doubled_starts=counts["doubled"],
        mask_digest="sha256:" + digest.hexdigest(),
        strip=strip,
    )


def _tally(row: MaskedSequence, vocabulary: Vocabulary) -> dict[str, int]:
    """What one sequence adds to the counts of its split."""
    on = sum(row.supervised)
    control = sum(map(vocabulary.control.__contains__, row.ids))
    start = len(row.prompt)
    doubled = (
        vocabulary.start is not None
        and len(row.ids) > 1
        and row.ids[0] == row.ids[1] == vocabulary.start
    )
    return {
        "sequences": 1,
        "supervised": on,
        "masked": len(row.ids) - on,
        "expected": row.control_tokens,
        "found": control,
        # More control tokens than the template places: text became a turn.
        "mismatched": control != row.control_tokens,
        "bare": on == 0,
        # Training must see the very prompt that the policy sees, and learn nothing of it.
        "broken": list(row.ids[:start]) != list(row.prompt) or any(row.supervised[:start]),
        # A policy that never learns an end does not stop.
        "endless": not (row.ids and row.ids[-1] in vocabulary.end and row.supervised[-1]),
        "doubled": doubled,
    }


def check_receipt(receipt: MaskReceipt) -> None:
    """Refuse a receipt that shows tokens which must not be trained, or none that must.

    Raises:
        MaskBreach: Names every broken rule of every split.
    """
    problems = [
        f"{name}: {problem}"
        for name, split in receipt.splits.items()
        for problem in _problems(split)
    ]
    if problems:
        raise MaskBreach(
            "The mask receipt refuses to train: "
            + "; ".join(problems)
            + ". Correct the data or the chat template; no step was taken."
        )


def _problems(split: SplitReceipt) -> list[str]:
    problems = []
    if split.rows_in != split.rows_used + sum(split.dropped.values()):
        problems.append(
            f"{split.rows_in} rows came in, but {split.rows_used} are used and"
            f" {sum(split.dropped.values())} dropped with a reason"
        )
    if not split.sequences:
        problems.append(f"no row is left to train on (dropped: {split.dropped})")
    if split.without_supervision:
        problems.append(
            f"{split.without_supervision} of {split.sequences} sequences have no supervised token"
        )
    if split.broken_prompts:
        problems.append(
            f"in {split.broken_prompts} of {split.sequences} sequences the prompt is not an"
            " unsupervised prefix of prompt and response"
        )
    if split.unsupervised_ends:
        problems.append(
            f"{split.unsupervised_ends} of {split.sequences} sequences do not end in a supervised"
            " end-of-response token"
        )
    if split.doubled_starts:
        problems.append(
            f"{split.doubled_starts} of {split.sequences} sequences open with a doubled start token"
        )
    census = split.control_tokens
    if census.mismatched:
        problems.append(
            f"{census.mismatched} of {split.sequences} sequences hold other control tokens than the"
            f" template places (expected {census.expected} in all, found {census.found}): text was"
            " read as a turn"
        )
    return problems
