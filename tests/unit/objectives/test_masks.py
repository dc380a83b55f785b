"""The mask receipt: what it counts, and everything it refuses."""

import pytest

from plumbline.errors import MaskBreach
from plumbline.objectives.masks import (
    MaskedSequence,
    MaskReceipt,
    SplitReceipt,
    Vocabulary,
    build_receipt,
    check_receipt,
)

PAD, END, USER, ASSISTANT, START = range(5)
VOCABULARY = Vocabulary(
    frozenset({END}),
    START,
    frozenset({PAD, END, USER, ASSISTANT, START}),
    lambda ids: [f"t{token}" for token in ids],
)
PROMPT = [USER, 10, 11, ASSISTANT]
GOOD = MaskedSequence([*PROMPT, 20, 21, END], [False] * 4 + [True] * 3, PROMPT, 3)


def receipt(*rows: MaskedSequence, rows_in: int | None = None, **dropped: int) -> SplitReceipt:
    total = len(rows) + sum(dropped.values()) if rows_in is None else rows_in
    return build_receipt(rows, VOCABULARY, rows_in=total, rows_used=len(rows), dropped=dropped)


def judge(split: SplitReceipt) -> None:
    check_receipt(MaskReceipt(supervision="tokens of the response", splits={"train": split}))


def test_it_counts_what_is_there():
    split = receipt(GOOD, GOOD, long=3)
    assert (split.rows_in, split.rows_used, split.dropped) == (5, 2, {"long": 3})
    assert (split.sequences, split.supervised_tokens, split.masked_tokens) == (2, 6, 8)
    assert (
        split.control_tokens.expected,
        split.control_tokens.found,
        split.control_tokens.mismatched,
    ) == (6, 6, 0)
    judge(split)


def test_the_strip_shows_the_first_sequence():
    strip = receipt(GOOD).strip
    assert [(one.token, one.supervised) for one in strip][:5] == [
        ("t2", False),
        ("t10", False),
        ("t11", False),
        ("t3", False),
        ("t20", True),
    ]
    assert len(strip) == len(GOOD.ids)


def changed(**fields: list[int] | list[bool]) -> MaskedSequence:
    return GOOD._replace(**fields)


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (changed(supervised=[False] * 7), "1 of 2 sequences have no supervised token"),
        (changed(supervised=[True] * 7), "the prompt is not an unsupervised prefix"),
        (
            changed(supervised=[False] * 3 + [True] * 4),
            "in 1 of 2 sequences the prompt is not an unsupervised prefix",
        ),
        (
            changed(supervised=[True] + [False] * 3 + [True] * 3),
            "in 1 of 2 sequences the prompt is not an unsupervised prefix",
        ),
        (changed(prompt=[USER, 10, 12, ASSISTANT]), "the prompt is not an unsupervised prefix"),
        (
            changed(supervised=[False] * 4 + [True, True, False]),
            "do not end in a supervised end-of-response token",
        ),
        (changed(ids=[*PROMPT, 20, END, 21]), "do not end in a supervised end-of-response token"),
        (
            MaskedSequence(
                [START, START, *GOOD.ids], [False] * 6 + [True] * 3, [START, START, *PROMPT], 5
            ),
            "doubled start token",
        ),
        (
            changed(ids=[*PROMPT, USER, 21, END]),
            r"expected 6 in all, found 7\): text was read as a turn",
        ),
        (
            changed(
                ids=[*PROMPT[:2], PAD, ASSISTANT, 20, 21, END], prompt=[USER, 10, PAD, ASSISTANT]
            ),
            "text was read as a turn",
        ),
    ],
)
def test_every_breach_is_refused_and_named(row, message):
    with pytest.raises(MaskBreach, match=message):
        judge(receipt(GOOD, row))


def test_censuses_that_cancel_out_are_still_refused():
    """One sequence has a control token too many and one too few: the sums agree, the sequences do
    not."""
    surplus = changed(ids=[*PROMPT, USER, 21, END])
    deficit = MaskedSequence(
        [10, 11, ASSISTANT, 20, END], [False] * 3 + [True] * 2, [10, 11, ASSISTANT], 3
    )
    split = receipt(surplus, deficit)
    assert split.control_tokens.expected == split.control_tokens.found
    with pytest.raises(MaskBreach, match="2 of 2 sequences hold other control tokens"):
        judge(split)


def test_rows_that_vanish_without_a_reason_are_refused():
    with pytest.raises(MaskBreach, match="5 rows came in, but 1 are used and 0 dropped"):
        judge(receipt(GOOD, rows_in=5))


def test_an_empty_split_is_refused():
    with pytest.raises(MaskBreach, match="no row is left"):
        judge(receipt(long=4))


def test_all_problems_are_listed_at_once():
    with pytest.raises(MaskBreach) as caught:
        judge(receipt(changed(supervised=[False] * 7), rows_in=9))
    assert "9 rows came in" in str(caught.value)
    assert "no supervised token" in str(caught.value)
    assert "supervised end-of-response" in str(caught.value)


def test_the_digest_sees_ids_masks_and_order():
    other = changed(ids=[*PROMPT, 22, 21, END])
    rows = [
        (GOOD, other),
        (other, GOOD),
        (GOOD, GOOD),
        (GOOD, changed(supervised=[False] * 5 + [True] * 2)),
    ]
    digests = {receipt(*pair).mask_digest for pair in rows}
    assert len(digests) == len(rows)
    assert receipt(GOOD, other).mask_digest == receipt(GOOD, other).mask_digest


def test_the_digest_sees_where_a_sequence_ends():
    """The same stream of numbers, cut in another place, is other data."""
    first = receipt(
        MaskedSequence([7, 8, 9], [False, True, True], [7], 0), MaskedSequence([7], [True], [], 0)
    )
    second = receipt(
        MaskedSequence([7, 8], [False, True], [7], 0), MaskedSequence([9, 7], [True, True], [], 0)
    )
    assert first.mask_digest != second.mask_digest
