"""Contamination: prompts of the training data that are, contain, or are part of a held-out prompt.

Found are equal prompts, prompts with the same words, and prompts that share enough n-grams with one
held-out prompt: something put before or after it, or a piece of it. Not found are paraphrases,
translations, letters replaced by others that look alike, and prompts in which every n-gram has a
word changed; a held-out prompt of fewer than `SHORTEST` words is found only as a whole.
"""

from collections.abc import Iterable, Sequence
from typing import Literal, NamedTuple

import numpy as np
from numpy.typing import NDArray

from plumbline.profile.data import ContaminationConfig
from plumbline.schema.conversations import Message
from plumbline.schema.held_out import EvalPrompt
from plumbline.text.ngrams import Grams, WordHashes, grams

SHORTEST = 5
"""Words from which a prompt that is shorter than an n-gram is looked for inside longer ones; below,
everyday phrases would match."""


class HeldOutMatch(NamedTuple):
    """The held-out prompt that a prompt resembles most."""

    held_out: str
    """Its id."""
    kind: Literal["exact", "normalized", "containment"]
    """`exact`: the same turns as they stand; `normalized`: the same words in every turn;
    `containment`: n-grams in common."""
    share: float
    """n-grams in common as a share of those of the shorter prompt, 0 to 1; 1 for the other
    kinds."""


class HeldOutIndex:
    """The held-out prompts, ready to be compared with; system messages are left out, as in
    `prompt_key`."""

    def __init__(self, prompts: Iterable[EvalPrompt], rule: ContaminationConfig) -> None:
        self._rule, self._hashes = rule, WordHashes()
        vault = sorted(prompts, key=lambda prompt: prompt.id, reverse=True)
        turns = _Turns([item.prompt for item in vault], self._hashes)
        # Built backwards, so that of several equal prompts the one with the smallest id remains.
        self._exact = dict(zip(turns.as_they_stand, (item.id for item in vault), strict=True))
        self._normalized = dict(zip(turns.normalized, (item.id for item in vault), strict=True))
        self._ids = np.array([item.id for item in vault], dtype=object)
        self._postings = _Postings(*_distinct(turns, grams(turns.hashes, turns.counts, rule.ngram)))
        self._sizes = np.bincount(self._postings.owners, minlength=len(vault))
        self._short = {
            order: _short_postings(turns, order, rule.threshold)
            for order in range(SHORTEST, rule.ngram)
        }

    def matches(self, prompts: Sequence[Sequence[Message]]) -> list[HeldOutMatch | None]:
        """The best match of each prompt, None without one: exact before normalized before the
        highest share before the smallest id.

        Memory grows with the number of prompts; for many, call it for a few thousand at a time.
        """
        turns = _Turns(prompts, self._hashes)
        matches: list[HeldOutMatch | None] = self._contained(turns)
        for index, (exact, normalized) in enumerate(
            zip(turns.as_they_stand, turns.normalized, strict=True)
        ):
            if not exact:
                continue  # nothing but system messages
            if exact in self._exact:
                matches[index] = HeldOutMatch(self._exact[exact], "exact", 1.0)
            elif normalized in self._normalized:
                matches[index] = HeldOutMatch(self._normalized[normalized], "normalized", 1.0)
        return matches

    def _contained(self, turns: "_Turns") -> list[HeldOutMatch | None]:
        """The containment matches alone."""
        hashes, owners = _distinct(turns, grams(turns.hashes, turns.counts, self._rule.ngram))
        sizes = np.bincount(owners, minlength=turns.number)
        place, held_out = self._postings.of(hashes)
        # one number for each pair: rows of two sort ten times as slowly
        pairs, common = np.unique(owners[place] * len(self._ids) + held_out, return_counts=True)
        prompt, held = np.divmod(pairs, max(len(self._ids), 1))
        share = common / np.minimum(sizes[prompt], self._sizes[held])
        enough = share >= self._rule.threshold
        triples = [(prompt[enough], held[enough], share[enough])]
        for order, (whole, longer) in self._short.items():
            grams_of_order = grams(turns.hashes, turns.counts, order)
            hashes, owners = _distinct(turns, grams_of_order)
            place, held = whole.of(hashes)
            triples.append((owners[place], held, np.ones(len(held))))
            hashes, owners = _whole(turns, grams_of_order, order)
            place, held = longer.of(hashes)
            triples.append((owners[place], held, np.ones(len(held))))
        prompt, held, share = (np.concatenate(column) for column in zip(*triples, strict=True))
        matches: list[HeldOutMatch | None] = [None] * turns.number
        # Ids fall with the position in the vault, so of equal shares the last one, with the
        # smallest id, stays.
        for index in np.lexsort((held, share, prompt)).tolist():
            matches[prompt[index]] = HeldOutMatch(
                self._ids[held[index]], "containment", float(share[index])
            )
        return matches


class _Turns:
    """The turns of several prompts, without system messages, with the hashes of their words."""

    def __init__(self, prompts: Sequence[Sequence[Message]], hashes: WordHashes) -> None:
        self.number = len(prompts)
        turns = [
            [(turn.role, turn.content) for turn in prompt if turn.role != "system"]
            for prompt in prompts
        ]
        self.as_they_stand = list(map(tuple, turns))
        self.per_prompt = np.array(list(map(len, turns)), dtype=np.int64)
        self.owners = np.repeat(np.arange(self.number), self.per_prompt)
        self.hashes, self.counts = hashes.of([content for prompt in turns for _, content in prompt])
        ends = np.cumsum(self.counts).tolist()
        data, starts, turn = self.hashes.tobytes(), [0, *ends], 0
        self.normalized: list[tuple[tuple[str, bytes], ...]] = []
        for prompt in turns:
            self.normalized.append(
                tuple(
                    (role, data[8 * starts[turn + i] : 8 * starts[turn + i + 1]])
                    for i, (role, _) in enumerate(prompt)
                )
            )
            turn += len(prompt)


class _Postings:
    """Which held-out prompts an n-gram stands in."""

    def __init__(self, hashes: NDArray[np.uint64], owners: NDArray[np.int64]) -> None:
        order = np.lexsort((owners, hashes))
        self._sorted, self.owners = hashes[order], owners[order]

    def of(self, hashes: NDArray[np.uint64]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """Positions in `hashes`, and the held-out prompts that have them: one entry for each prompt
        that an n-gram stands in."""
        first = np.searchsorted(self._sorted, hashes, side="left")
        hit = np.flatnonzero(first < len(self._sorted))
        hit = hit[self._sorted[first[hit]] == hashes[hit]]
        number = np.searchsorted(self._sorted, hashes[hit], side="right") - first[hit]
        within = np.arange(int(number.sum())) - np.repeat(np.cumsum(number) - number, number)
        return np.repeat(hit, number), self.owners[np.repeat(first[hit], number) + within]


def _distinct(turns: _Turns, ngrams: Grams) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The distinct n-grams of each prompt, and the prompt of each."""
    owners = np.repeat(turns.owners, ngrams.counts)
    order = np.lexsort((ngrams.hashes, owners))
    hashes, owners = ngrams.hashes[order], owners[order]
    new = np.ones(len(hashes), dtype=np.bool_)
    new[1:] = (hashes[1:] != hashes[:-1]) | (owners[1:] != owners[:-1])
    return hashes[new], owners[new]


def _whole(
    turns: _Turns, ngrams: Grams, order: int
) -> tuple[NDArray[np.uint64], NDArray[np.int64]]:
    """The prompts of one turn with exactly `order` words, each as one n-gram."""
    fitting = (turns.counts == order) & (turns.per_prompt[turns.owners] == 1)
    return ngrams.hashes[(np.cumsum(ngrams.counts) - ngrams.counts)[fitting]], turns.owners[fitting]


def _short_postings(turns: _Turns, order: int, threshold: float) -> tuple[_Postings, _Postings]:
    """Held-out prompts of exactly `order` words; and the n-grams of those a little longer, of which
    `order` words are at least the threshold."""
    ngrams = grams(turns.hashes, turns.counts, order)
    hashes, owners = _distinct(turns, ngrams)
    lengths = np.bincount(turns.owners, weights=turns.counts, minlength=turns.number)
    single = turns.per_prompt == 1
    longer = single & (lengths > order) & (order >= threshold * lengths)
    return _Postings(*_whole(turns, ngrams, order)), _Postings(
        hashes[longer[owners]], owners[longer[owners]]
    )
