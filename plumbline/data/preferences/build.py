"""Preference data: accepted events become pairs, split by prompt group, with every event accounted
for.

An event is set aside with the first reason that holds, in this order: its reason in `excluded`;
`other rubric`; `empty response`; `same response`; `redacted` (another event has its text after
redaction); `held-out prompt`; `superseded rubric`; `judged again`; `tie`; `adjudicated: ...`;
`contradiction`; `low agreement`; `near duplicate`. A ranking counts as used when one of its pairs
is. How votes are counted: `plumbline.data.preferences.aggregation`.
"""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from plumbline.data.adjudication.decisions import Adjudication, QueueItem
from plumbline.data.batch_index.index import KINDS, indexed
from plumbline.data.batch_index.spans import EventLines
from plumbline.data.decontamination.contamination import HeldOutMatch
from plumbline.data.decontamination.near_duplicates import (
    SIDE_RANK,
    Document,
    NearDuplicates,
    Sketches,
    keep_one,
    near_duplicates,
    sketch_width,
)
from plumbline.data.preferences.aggregation import (
    NEAR_DUPLICATE,
    AggregatedLabels,
    DecidedPairs,
    ExclusionReasons,
    aggregate_votes,
    rubric_ranks,
    set_aside_older,
)
from plumbline.data.preferences.disputed import queue_items
from plumbline.data.preferences.files import PreferenceFiles
from plumbline.data.preferences.held_out import held_out_matches
from plumbline.data.preferences.vote_table import VoteTable, hexadecimal, load_votes, read_sketches
from plumbline.data.preferences.vote_texts import VoteTexts
from plumbline.data.splits import split_of
from plumbline.profile.data import NearDuplicateConfig, PreferenceConfig
from plumbline.records import parse_json
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.kinds import ACCEPTED_FILE, DEMONSTRATIONS_FILE, GUARDRAIL_FILE, LABELS_FILE
from plumbline.schema.preferences import SPLITS, Split
from plumbline.schema.rubric import Rubric

ROUTES: Mapping[str, Mapping[str, str]] = MappingProxyType(
    {
        "demonstration": {
            "file": DEMONSTRATIONS_FILE,
            "feeds": "supervised fine-tuning of the reference policy",
        },
        "comparison": {
            "file": "train.jsonl, validation.jsonl, calibration.jsonl",
            "feeds": "reward model and direct preference optimization",
        },
        "ranking": {
            "file": "train.jsonl, validation.jsonl, calibration.jsonl",
            "feeds": "reward model and direct preference optimization, one vote in all",
        },
        "verdict": {"file": LABELS_FILE, "feeds": "objectives on unpaired labels"},
        "attack": {
            "file": GUARDRAIL_FILE,
            "feeds": (
                "the runtime guardrail; not trained on, so that its threshold is measured on unseen"
                " attacks"
            ),
        },
    }
)
"""What each kind of feedback enters and what that feeds; an event with an attack takes that route,
whatever it judges."""


_ATTACK = "attack"


class PreferenceCounts(NamedTuple):
    """What was written."""

    counts: dict[str, int]
    """Events in, used and set aside (in all and by reason), labels, attacks, pairs in all and by
    split, and what was found about them."""
    splits: dict[Split, int]
    """Pairs by split."""
    routes: dict[str, dict[str, str | int]]
    """ROUTES with the number of accepted events that took each."""


def build_preferences(
    batches: Sequence[Path],
    folder: Path,
    rubric: Rubric,
    rule: PreferenceConfig,
    seed: int,
    vault: Iterable[EvalPrompt],
    *,
    excluded: Mapping[str, str] = MappingProxyType({}),
    adjudications: Mapping[str, Adjudication] = MappingProxyType({}),
    remembered: Path | None = None,
) -> PreferenceCounts:
    """Distil accepted events into preference data.

    The same events give the same bytes, in whatever batches, order and number of copies they come.
    Memory grows by about 900 bytes for each judged pair; texts are read when they are written.

    Args:
        batches: Folders that `write_batch` filled.
        folder: Gets the files that `PreferenceFiles` writes.
        rubric: The current rubric; judgments under it and under the versions that it accepts count.
        rule: Split, agreement, near duplicates and contamination.
        seed: Seed of the split.
        vault: Held-out prompts.
        excluded: Reasons by event id, see `plumbline.data.consent.exclusions`.
        adjudications: Decisions of people by item, under this rubric.
        remembered: Folder in which the search for held-out prompts keeps its results by batch.

    Raises:
        InvalidFeedback: If a batch and its index disagree.
        InvalidPreferences: If a decision chooses a text that its item does not have.
    """
    folder.mkdir(parents=True, exist_ok=True)
    with (
        indexed(batches, rule.near_duplicates) as folders,
        EventLines([batch / ACCEPTED_FILE for batch in batches]) as lines,
    ):
        votes = load_votes(folders)
        texts, splits = VoteTexts(votes, lines), _splits(votes, rule, seed)
        matches = held_out_matches(batches, folders, vault, rule.contamination, remembered)
        screened = _screen(votes, rubric, matches, excluded)
        set_aside_older(votes, screened.reasons, rubric)
        settled = aggregate_votes(
            votes, screened.reasons, rubric, rule.min_agreement, adjudications, texts
        )
        duplicates = _near_duplicates(
            votes, texts, folders, settled.pairs, splits, rule.near_duplicates
        )
        for number in np.flatnonzero(~duplicates.kept).tolist():
            start, stop = settled.pairs.start[number], settled.pairs.stop[number]
            screened.reasons.mark(settled.rows[start:stop], NEAR_DUPLICATE)
        return _write(
            PreferenceFiles(folder, votes, texts, splits),
            votes,
            screened,
            settled,
            duplicates,
            queue=queue_items(votes, screened.reasons, settled.disputed, texts, rubric.label),
            adjudications=adjudications,
        )


def _write(
    files: PreferenceFiles,
    votes: VoteTable,
    screened: "_Screened",
    settled: AggregatedLabels,
    duplicates: "_DuplicatePairs",
    *,
    queue: Iterable[QueueItem],
    adjudications: Mapping[str, Adjudication],
) -> PreferenceCounts:
    first_rows, reasons = screened.first_rows, screened.reasons
    pairs = settled.pairs.take(duplicates.kept)
    outcomes = _event_outcomes(votes, screened, settled, pairs)
    sizes = files.pairs(settled, pairs)
    findings = {
        "labels": files.labels(settled),
        "attacks": files.guardrail(first_rows[screened.attacks[first_rows]]),
        "pairs decided by a person": files.adjudicated(pairs, adjudications),
        "pairs near others": files.near_duplicates(
            settled.pairs, duplicates.groups, duplicates.kept
        ),
        "pairs on held-out prompts": files.contamination(screened.leaked, screened.matches),
        "pairs to adjudicate": files.queue(queue),
    }
    aside = files.set_aside(outcomes, first_rows, reasons)
    counts = _counts(votes.events, sizes, aside, findings)
    return PreferenceCounts(counts, sizes, _routes(votes, first_rows))


class _Screened(NamedTuple):
    """Events after everything that is asked of each by itself."""

    reasons: ExclusionReasons
    first_rows: NDArray[np.int64]
    """First row of each event."""
    leaked: NDArray[np.int64]
    """Rows whose prompt is held out."""
    matches: dict[int, HeldOutMatch]
    """The held-out prompt that each leaked prompt group matches."""
    attacks: NDArray[np.bool_]
    """Rows of the events that go to the guardrail."""


def _screen(
    votes: VoteTable,
    rubric: Rubric,
    matches: Mapping[bytes, HeldOutMatch],
    excluded: Mapping[str, str],
) -> _Screened:
    columns, reasons = votes.columns, ExclusionReasons(len(votes))
    first_rows = np.flatnonzero(np.diff(votes.event_number, prepend=-1))
    events = votes.event[first_rows]
    by_reason: dict[str, list[bytes]] = {}
    for identifier, reason in excluded.items():
        by_reason.setdefault(reason, []).append(bytes.fromhex(identifier))
    for reason, identifiers in sorted(by_reason.items()):
        out = np.isin(events, np.array(identifiers, dtype="S20"))
        reasons.mark(out[votes.event_number], reason)
    known = [name in rubric_ranks(rubric) for name in votes.names["rubric"]]
    reasons.mark(~np.array(known or [True])[columns["rubric"]], "other rubric")
    reasons.mark(columns["empty_response"], "empty response")
    reasons.mark(columns["same_response"], "same response")
    if len(columns["redacted_from"]):
        reasons.mark(np.isin(votes.event, columns["redacted_from"][reasons.count()]), "redacted")
    numbers = np.searchsorted(votes.prompt_keys, np.array(list(matches), dtype="S32"))
    numbered = dict(zip(numbers.tolist(), matches.values(), strict=True))
    leaked = np.flatnonzero(reasons.count() & np.isin(votes.prompt, numbers))
    reasons.mark(leaked, "held-out prompt")
    attacks = reasons.count() & (columns["attack"] >= 0)
    reasons.mark(attacks, _ATTACK)
    return _Screened(reasons, first_rows, leaked, numbered, attacks)


def _splits(votes: VoteTable, rule: PreferenceConfig, seed: int) -> NDArray[np.int8]:
    """Split of each prompt group, as its place in SPLITS."""
    names = (split_of(hexadecimal(key, 32), rule.split, seed) for key in votes.prompt_keys.tolist())
    return np.fromiter(
        (SPLITS.index(name) for name in names), dtype=np.int8, count=len(votes.prompt_keys)
    )


class _DuplicatePairs(NamedTuple):
    """Near duplicates among the pairs, and the pairs that stay, shape (pairs,)."""

    groups: NearDuplicates
    kept: NDArray[np.bool_]


def _near_duplicates(
    votes: VoteTable,
    texts: VoteTexts,
    folders: Sequence[Path],
    pairs: DecidedPairs,
    splits: NDArray[np.int8],
    rule: NearDuplicateConfig,
) -> _DuplicatePairs:
    def documents(rows: Sequence[int]) -> list[Document]:
        parts = texts.fragments(pairs.row[np.asarray(rows, dtype=np.int64)])
        return [
            Document(
                [turn["content"] for turn in parse_json(part.prompt)],
                [parse_json(part.left), parse_json(part.right)],
            )
            for part in parts
        ]

    signatures = read_sketches(folders, votes, pairs.row, sketch_width(rule))
    duplicates = near_duplicates(
        Sketches(signatures, votes.columns["fingerprint"][pairs.row]), documents, rule
    )
    ranks = np.array([SIDE_RANK[name] for name in SPLITS])
    kept = (
        keep_one(duplicates.group, ranks[splits[votes.prompt[pairs.row]]])
        if rule.action == "set_aside"
        else np.ones(len(pairs), dtype=np.bool_)
    )
    return _DuplicatePairs(duplicates, kept)


def _event_outcomes(
    votes: VoteTable, screened: _Screened, settled: AggregatedLabels, pairs: DecidedPairs
) -> NDArray[np.int16]:
    """Reason of each event that is set aside; 0 for those that are in a pair, a label or the
    guardrail.

    Every event has exactly one place: that is asserted from what is going to be written, not from
    the reasons.
    """
    cited = np.zeros(votes.events, dtype=np.bool_)
    for decisions in (pairs, settled.labels):
        lengths = decisions.stop - decisions.start
        # the votes from start to stop of every decision, one run after the other
        rows = settled.rows[
            np.repeat(decisions.start - np.cumsum(lengths) + lengths, lengths)
            + np.arange(int(lengths.sum()))
        ]
        cited[votes.event_number[rows]] = True
    attacks = screened.attacks[screened.first_rows]
    places = (
        np.minimum.reduceat(screened.reasons.code, screened.first_rows)
        if votes.events
        else np.zeros(0, dtype=np.int16)
    )
    places[attacks] = 0
    assert not (cited & attacks).any(), "an event with an attack is in a pair or label"
    assert ((places == 0) == (cited | attacks)).all(), (
        "events are not all accounted for exactly once"
    )
    return places


def _counts(
    events: int, sizes: Mapping[Split, int], aside: Mapping[str, int], findings: Mapping[str, int]
) -> dict[str, int]:
    return {
        "events": events,
        "events used": events - sum(aside.values()) - findings["attacks"],
        "events set aside": sum(aside.values()),
        **{f"set aside: {reason}": count for reason, count in aside.items()},
        "pairs": sum(sizes.values()),
        **{f"pairs: {name}": sizes[name] for name in SPLITS},
        **findings,
    }


def _routes(votes: VoteTable, first_rows: NDArray[np.int64]) -> dict[str, dict[str, str | int]]:
    """ROUTES with the events that take each; demonstrations come another way and have no number
    here."""
    attack = votes.columns["attack"][first_rows] >= 0
    kinds = np.bincount(votes.columns["kind"][first_rows][~attack], minlength=len(KINDS)).tolist()
    numbers = {**dict(zip(KINDS, kinds, strict=True)), "attack": int(attack.sum())}
    return {
        kind: {**route, **({"events": numbers[kind]} if kind in numbers else {})}
        for kind, route in ROUTES.items()
    }
