"""Near duplicates: pairs whose words are almost the same, found by MinHash and verified exactly.

A document is sketched once, when it arrives, in about 125 bytes; sketches of all documents are
searched together. MinHash is Broder 1997, one byte of each hash Li and König 2010, the search in
bands Leskovec, Rajaraman and Ullman, "Mining of Massive Datasets", section 3.4.
"""

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from itertools import chain
from typing import NamedTuple

import numpy as np
import rensa
from numpy.typing import NDArray

from plumbline.profile.data import NearDuplicateConfig
from plumbline.schema.preferences import Split
from plumbline.text.ngrams import VERSION, WordHashes, grams, mix

MOST_HASHES = 128
"""Most MinHash values, and bytes, in a sketch."""
RECALL = 0.95
"""Least probability that two documents exactly at the threshold meet in a band; it rises quickly
above the threshold."""
NEIGHBOURS = 16
"""Documents before it in its bucket that a document is compared with: all of them, unless more than
17 share a band."""
VERIFIED_AT_ONCE = 2048
"""Candidates whose texts are read at once."""
SIDE_RANK: Mapping[Split, int] = {"calibration": 0, "validation": 1, "train": 2}
"""Order in which the members of a group are kept: held ones first."""

_SEED = 20240229
_hashes = WordHashes()

Readable = Callable[[Sequence[int]], "Sequence[Document]"]
"""Reads the documents of some rows."""


class Document(NamedTuple):
    """What is compared: the texts of a conversation and of the responses to it, each in any
    order."""

    prompt: Sequence[str]
    responses: Sequence[str]


class Sketches(NamedTuple):
    """Sketches of n documents."""

    signatures: NDArray[np.uint8]
    """One byte of each MinHash value, shape (n, sketch_width(rule))."""
    fingerprints: NDArray[np.uint64]
    """Shape (n,); equal where prompt and responses have the same shingles, equally often."""


class Link(NamedTuple):
    """Two rows that are near duplicates, and their similarity."""

    first: int
    second: int
    similarity: float


class NearDuplicates(NamedTuple):
    """Groups of near duplicates: connected components of the verified links."""

    group: NDArray[np.int64]
    """Smallest row of the group of each row, shape (n,); a row without near duplicates is its own
    group."""
    links: list[Link]
    """What holds the groups together: one link fewer than members in each group."""


class Banding(NamedTuple):
    """How a sketch is cut: documents that agree in all rows of a band are candidates."""

    bands: int
    rows: int


def banding(threshold: float) -> Banding:
    """The longest bands by which two documents at the threshold meet with probability `RECALL`: 1 -
    (1 - threshold**rows)**bands.

    At 0.7 that is 25 bands of 5: 0.990 at the threshold, 0.99995 at 0.8, and 0.059 at 0.3.
    """
    meeting = [
        rows
        for rows in range(1, MOST_HASHES + 1)
        if 1 - (1 - threshold**rows) ** (MOST_HASHES // rows) >= RECALL
    ]
    rows = max(meeting, default=1)
    return Banding(MOST_HASHES // rows, rows)


def sketch_width(rule: NearDuplicateConfig) -> int:
    """Bytes of one signature."""
    cut = banding(rule.threshold)
    return cut.bands * cut.rows


def scheme(rule: NearDuplicateConfig) -> str:
    """Names everything that a sketch depends on: sketches with different names cannot be compared
    and have to be made again."""
    cut = banding(rule.threshold)
    return (
        f"rminhash-{rensa.RMinHash.ALGORITHM_VERSION} words-{VERSION} seed-{_SEED} 8-bit"
        f" {cut.bands}x{cut.rows} shingle-{rule.shingle}"
    )


def sketch(documents: Sequence[Document], rule: NearDuplicateConfig) -> Sketches:
    """Sketch documents; to stream, call it for a few thousand at a time."""
    width = sketch_width(rule)
    if not documents:
        return Sketches(np.empty((0, width), dtype=np.uint8), np.empty(0, dtype=np.uint64))
    shingles = _shingles(documents, rule.shingle)
    ends = np.searchsorted(shingles.owners, np.arange(len(documents) + 1)).astype(np.uint64)
    matrix = rensa.RMinHash.digest_matrix_from_flat_token_hashes(
        shingles.hashes, ends, width, _SEED
    )
    signatures = (np.array(matrix.to_rows(), dtype=np.uint32) >> np.uint32(24)).astype(np.uint8)
    # Sums do not depend on the order of the texts; each half is mixed before they meet, so that
    # prompt and responses cannot be exchanged.
    halves = np.zeros((2, len(documents)), dtype=np.uint64)
    np.add.at(halves, (shingles.in_response.astype(np.int64), shingles.owners), shingles.hashes)
    return Sketches(signatures, mix(mix(halves[0]) + np.uint64(_SEED) * halves[1]))


def near_duplicates(
    sketches: Sketches, documents: Readable, rule: NearDuplicateConfig
) -> NearDuplicates:
    """Group near duplicates.

    Two documents are near duplicates if the Jaccard similarity of their word shingles, and that of
    the shingles of their responses alone, are both at least the threshold: two pairs are not the
    same because a long prompt is. The shingles are compared exactly, for every candidate. Of more
    than 17 documents that share a band each is compared with the 16 before it only, so a group can
    come out in several pieces.

    Args:
        sketches: Of all documents, in an order that follows from the documents (by id); the result
            then depends on nothing else.
        documents: Reads at most 4,096 rows at a time.
        rule: The one that the sketches were made by.
    """
    groups = _Groups(len(sketches.fingerprints))
    # Equal fingerprints are equal documents: joined without a comparison, and one of each goes on.
    order = np.argsort(sketches.fingerprints, kind="stable")
    same = sketches.fingerprints[order][1:] == sketches.fingerprints[order][:-1]
    groups.join(order[:-1][same], order[1:][same], np.ones(int(same.sum())))
    distinct = np.flatnonzero(groups.group == np.arange(len(order)))
    for first, second in _candidates(
        sketches.signatures[distinct], rule.threshold, distinct, groups
    ):
        for start in range(0, len(first), VERIFIED_AT_ONCE):
            left, right = (
                first[start : start + VERIFIED_AT_ONCE],
                second[start : start + VERIFIED_AT_ONCE],
            )
            similarity = _similarities(left, right, documents, rule.shingle)
            near = similarity >= rule.threshold
            groups.join(left[near], right[near], similarity[near])
    return NearDuplicates(groups.group, groups.links)


def keep_one(group: NDArray[np.int64], side: NDArray[np.integer]) -> NDArray[np.bool_]:
    """Which rows stay when one of each group does: the one with the lowest side (`SIDE_RANK`), and
    of several the first row.

    A group that stands on both sides of a split keeps the held row, so that nothing near a held
    pair is trained on.
    """
    order = np.lexsort((np.arange(len(group)), side, group))
    kept = np.zeros(len(group), dtype=np.bool_)
    kept[order[np.flatnonzero(np.diff(group[order], prepend=-1))]] = True
    return kept


class _Groups:
    """Connected components under growing links."""

    def __init__(self, rows: int) -> None:
        self.group = np.arange(rows)
        self.links: list[Link] = []

    def join(
        self,
        first: NDArray[np.int64],
        second: NDArray[np.int64],
        similarity: NDArray[np.float64],
    ) -> None:
        """Unite the groups of rows first[i] and second[i], and keep the links that were needed for
        it."""
        if not len(first):
            return
        parent: dict[int, int] = {}

        def root(label: int) -> int:
            while (above := parent.get(label, label)) != label:
                parent[label] = parent.get(above, above)
                label = above
            return label

        for left, right, own, others, value in zip(
            first.tolist(),
            second.tolist(),
            self.group[first].tolist(),
            self.group[second].tolist(),
            similarity.tolist(),
            strict=True,
        ):
            low, high = sorted((root(own), root(others)))
            if low != high:
                parent[high] = low
                self.links.append(Link(min(left, right), max(left, right), value))
        renamed = np.arange(len(self.group))
        for label in parent:
            renamed[label] = root(label)
        self.group = renamed[self.group]


def _candidates(
    signatures: NDArray[np.uint8], threshold: float, rows: NDArray[np.int64], groups: _Groups
) -> Iterator[tuple[NDArray[np.int64], NDArray[np.int64]]]:
    """Pairs of rows that share a band, are estimated to be similar enough, and are not yet in one
    group; band by band."""
    cut = banding(threshold)
    # Four standard deviations of the estimate: it loses one in 30,000 at the threshold.
    least = threshold - 4 * math.sqrt(threshold * (1 - threshold) / signatures.shape[1])
    for band in range(cut.bands):
        # One number for the bytes of the band, shape (rows,); equal numbers meet in a bucket.
        keys = np.zeros(len(rows), dtype=np.uint64)
        for column in range(band * cut.rows, (band + 1) * cut.rows):
            keys = keys * np.uint64(0x9E3779B97F4A7C15) + signatures[:, column] + np.uint64(1)
        order = np.argsort(keys, kind="stable")
        bucket = np.cumsum(np.diff(keys[order], prepend=keys[order][:1]) != 0)
        order = order[np.bincount(bucket, minlength=1)[bucket] > 1] if len(order) else order
        # Sorted by bucket, a row is compared with the rows 1 to NEIGHBOURS places before it.
        for lag in range(1, NEIGHBOURS + 1):
            first, second = order[:-lag], order[lag:]
            open_ = (keys[first] == keys[second]) & (
                groups.group[rows[first]] != groups.group[rows[second]]
            )
            first, second = first[open_], second[open_]
            if not open_.any():
                continue
            near = _estimates(signatures, first, second) >= least
            yield rows[first[near]], rows[second[near]]


def _estimates(
    signatures: NDArray[np.uint8], first: NDArray[np.int64], second: NDArray[np.int64]
) -> NDArray[np.float64]:
    """Estimated Jaccard similarity: the share of equal bytes, less the 1 in 256 that agree by
    chance."""
    shares = [
        (
            signatures[first[start : start + 65536]] == signatures[second[start : start + 65536]]
        ).mean(axis=1)
        for start in range(0, len(first), 65536)
    ]
    return (np.concatenate(shares) - 1 / 256) / (1 - 1 / 256)


class _Shingles(NamedTuple):
    """Shingles of several documents, by document."""

    hashes: NDArray[np.uint64]
    owners: NDArray[np.int64]
    in_response: NDArray[np.bool_]


def _shingles(documents: Sequence[Document], order: int) -> _Shingles:
    texts = list(
        chain.from_iterable((*document.prompt, *document.responses) for document in documents)
    )
    sizes = np.array(
        [(len(document.prompt), len(document.responses)) for document in documents]
    ).reshape(-1)
    # Prompt and responses of a document alternate: `sizes` counts their texts, two per document.
    hashes, counts = grams(*_hashes.of(texts), order)
    in_response = np.repeat(np.tile([False, True], len(documents)), sizes)
    owners = np.repeat(np.repeat(np.arange(len(documents)), 2), sizes)
    return _Shingles(hashes, np.repeat(owners, counts), np.repeat(in_response, counts))


def _similarities(
    first: NDArray[np.int64], second: NDArray[np.int64], documents: Readable, order: int
) -> NDArray[np.float64]:
    """The smaller of the two exact Jaccard similarities of each pair of rows."""
    rows, places = np.unique(np.concatenate([first, second]), return_inverse=True)
    shingles = _shingles(documents(rows.tolist()), order)
    ids = np.unique(shingles.hashes, return_inverse=True)[1]
    left, right = places[: len(first)], places[len(first) :]
    whole = _jaccard(ids, shingles.owners, len(rows), left, right)
    responses = _jaccard(
        ids[shingles.in_response], shingles.owners[shingles.in_response], len(rows), left, right
    )
    return np.minimum(whole, responses)


def _jaccard(
    ids: NDArray[np.int64],
    owners: NDArray[np.int64],
    count: int,
    left: NDArray[np.int64],
    right: NDArray[np.int64],
) -> NDArray[np.float64]:
    """Jaccard similarity of the id sets of owners left[i] and right[i]; 1 where both are empty."""
    # A set is a run of sorted numbers owner * span + id, so that one search finds common members.
    span = int(ids.max(initial=0)) + 1
    members = np.unique(owners * span + ids)
    owned = members // span
    starts = np.searchsorted(owned, np.arange(count + 1))
    sizes = np.diff(starts)
    # Every member of a left set is looked up in the right one: `own` lists them pair by pair.
    lengths = sizes[left]
    pair = np.repeat(np.arange(len(left)), lengths)
    own = members[
        np.arange(int(lengths.sum()))
        + np.repeat(starts[left] - (np.cumsum(lengths) - lengths), lengths)
    ]
    wanted = right[pair] * span + own % span
    position = np.searchsorted(members, wanted)
    hits = (
        (position < len(members)) & (members[np.minimum(position, len(members) - 1)] == wanted)
        if len(members)
        else np.zeros(0, dtype=np.bool_)
    )
    common = np.bincount(pair[hits], minlength=len(left))
    union = sizes[left] + sizes[right] - common
    return np.where(union == 0, 1.0, common / np.maximum(union, 1))
