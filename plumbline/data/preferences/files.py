"""The files of a version of the preference data, written once, in canonical JSON and in an order
that follows from their content."""

import math
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray

from plumbline.data.batch_index.index import DIMENSIONS
from plumbline.data.decontamination.contamination import HeldOutMatch
from plumbline.data.decontamination.near_duplicates import NearDuplicates
from plumbline.data.preferences.aggregation import AggregatedLabels, DecidedPairs, ExclusionReasons
from plumbline.data.preferences.vote_table import NO_RATING, VoteTable, hexadecimal
from plumbline.data.preferences.vote_texts import VoteTexts
from plumbline.records import Record, canonical_json, parse_json
from plumbline.schema.kinds import (
    ADJUDICATED_FILE,
    ADJUDICATION_QUEUE_FILE,
    CONTAMINATION_FILE,
    GUARDRAIL_FILE,
    LABELS_FILE,
    NEAR_DUPLICATES_FILE,
    SET_ASIDE_FILE,
)
from plumbline.schema.preferences import (
    SPLITS,
    Split,
)


class PreferenceFiles:
    """Writes the files of one build.

    Args:
        folder: Where they go.
        votes: All votes.
        texts: Their texts.
        splits: The split of each prompt group, as its place in SPLITS.
    """

    def __init__(
        self, folder: Path, votes: VoteTable, texts: VoteTexts, splits: NDArray[np.int8]
    ) -> None:
        self._folder = folder
        self._votes = votes
        self._texts = texts
        self._splits = splits

    def pairs(self, settled: AggregatedLabels, pairs: DecidedPairs) -> dict[Split, int]:
        """Write the pairs of each split; `pairs` are sorted by id. Returns how many each split
        has."""
        sides = self._splits[self._votes.prompt[pairs.row]]
        sizes: dict[Split, int] = {}
        for place, name in enumerate(SPLITS):
            here = pairs.take(np.flatnonzero(sides == place))
            with (self._folder / f"{name}.jsonl").open("wb") as stream:
                stream.writelines(self._pair_lines(settled, here))
            sizes[name] = len(here)
        return sizes

    def _pair_lines(self, settled: AggregatedLabels, pairs: DecidedPairs) -> Iterator[bytes]:
        rubrics = [canonical_json(name)[:-1] for name in self._votes.names["rubric"]]
        columns = zip(
            self._texts.fragments(pairs.row),
            self._events(settled, pairs),
            self._ratings(settled, pairs),
            *(
                column.tolist()
                for column in (
                    pairs.id,
                    pairs.side,
                    pairs.margin,
                    pairs.votes,
                    pairs.weight,
                    pairs.agreement,
                    pairs.synthetic,
                )
            ),
            self._votes.columns["rubric"][pairs.row].tolist(),
            strict=True,
        )
        for (
            text,
            events,
            ratings,
            identity,
            side,
            margin,
            votes,
            weight,
            agreement,
            synthetic,
            rubric,
        ) in columns:
            chosen, rejected = (text.right, text.left) if side else (text.left, text.right)
            yield _PAIR_LINE % {
                b"agreement": agreement,
                b"chosen": chosen,
                b"context": text.context,
                b"event_ids": b'","'.join(events),
                b"id": hexadecimal(identity, 20).encode(),
                b"margin": margin,
                b"prompt": text.prompt,
                b"ratings": ratings,
                b"rejected": rejected,
                b"rubric": rubrics[rubric],
                b"synthetic": _TRUTH[synthetic],
                b"votes": votes,
                b"weight": weight,
            }

    def labels(self, settled: AggregatedLabels) -> int:
        """Write the unpaired labels, sorted by id."""
        labels = settled.labels
        splits = self._splits[self._votes.prompt[labels.row]]
        with (self._folder / LABELS_FILE).open("wb") as stream:
            for number, (text, events) in enumerate(
                zip(self._texts.fragments(labels.row), self._events(settled, labels), strict=True)
            ):
                values: dict[str, Any] = {
                    "id": hexadecimal(labels.id[number], 20),
                    "desirable": bool(labels.side[number] == 0),
                    "votes": int(labels.votes[number]),
                    "agreement": float(labels.agreement[number]),
                    "event_ids": [event.decode() for event in events],
                    "rubric": self._votes.names["rubric"][
                        self._votes.columns["rubric"][labels.row[number]]
                    ],
                    "synthetic": bool(labels.synthetic[number]),
                    "split": SPLITS[splits[number]],
                }
                parts = {"prompt": text.prompt, "response": text.left, "context": text.context}
                stream.write(_line(values, parts))
        return len(labels)

    def guardrail(self, rows: NDArray[np.int64]) -> int:
        """Write the events with an attack; `rows` are their first rows, in the order of the
        events."""
        with (self._folder / GUARDRAIL_FILE).open("wb") as stream:
            for row in rows.tolist():
                event = parse_json(self._texts.line(row))
                kept = {
                    name: event[name]
                    for name in (
                        "id",
                        "attack",
                        "prompt",
                        "judgment",
                        "acceptable",
                        "rubric",
                        "context",
                        "synthetic",
                    )
                }
                split = SPLITS[self._splits[self._votes.prompt[row]]]
                stream.write(
                    canonical_json(
                        kept
                        | {
                            "responses": [response["text"] for response in event["responses"]],
                            "split": split,
                        }
                    )
                )
        return len(rows)

    def queue(self, items: Iterable[Record]) -> int:
        """Write the pairs that wait for adjudication."""
        count = 0
        with (self._folder / ADJUDICATION_QUEUE_FILE).open("wb") as stream:
            for item in items:
                stream.write(item.to_json())
                count += 1
        return count

    def adjudicated(self, pairs: DecidedPairs, decisions: Mapping[str, Any]) -> int:
        """Write which labels a person decided; sorted by pair."""
        chosen = np.flatnonzero(pairs.adjudicated)
        with (self._folder / ADJUDICATED_FILE).open("wb") as stream:
            for number in chosen.tolist():
                item = "sha256:" + hexadecimal(self._votes.judged[pairs.row[number]], 32)
                decision = decisions[item]
                row = {
                    "pair": hexadecimal(pairs.id[number], 20),
                    "item": item,
                    "share": float(pairs.share[number]),
                    "clause": decision.clause,
                }
                stream.write(
                    canonical_json(
                        row
                        | {
                            "decision": decision.decision,
                            "chosen": decision.chosen,
                            "by": decision.by,
                            "reason": decision.reason,
                        }
                    )
                )
        return len(chosen)

    def near_duplicates(
        self, pairs: DecidedPairs, duplicates: NearDuplicates | None, kept: NDArray[np.bool_]
    ) -> int:
        """Write the groups of near duplicates, sorted by their first pair; `kept` are the pairs
        that stay. Returns how many pairs are in a group."""
        members: dict[int, list[int]] = {}
        similarity: dict[int, float] = {}
        if duplicates is not None:
            crowded = np.flatnonzero(
                np.bincount(duplicates.group, minlength=len(duplicates.group))[duplicates.group] > 1
            )
            for row in crowded.tolist():
                members.setdefault(int(duplicates.group[row]), []).append(row)
            for link in duplicates.links:
                group = int(duplicates.group[link.first])
                similarity[group] = min(similarity.get(group, 1.0), link.similarity)
        with (self._folder / NEAR_DUPLICATES_FILE).open("wb") as stream:
            for group, rows in sorted(members.items()):
                listed = [
                    {
                        "id": hexadecimal(pairs.id[row], 20),
                        "split": SPLITS[self._splits[self._votes.prompt[pairs.row[row]]]],
                        "kept": bool(kept[row]),
                    }
                    for row in rows
                ]
                stream.write(
                    canonical_json({"pairs": listed, "least_similarity": similarity[group]})
                )
        return sum(map(len, members.values()))

    def contamination(self, rows: NDArray[np.int64], matches: Mapping[int, HeldOutMatch]) -> int:
        """Write which judged pairs have a held-out prompt: pair, held-out prompt, kind of the
        match, share, and the events. Returns the number of pairs."""
        leaked: dict[tuple[str, str], tuple[HeldOutMatch, str | None, list[str]]] = {}
        for row in rows.tolist():
            match = matches[int(self._votes.prompt[row])]
            item = "sha256:" + hexadecimal(self._votes.judged[row], 32)
            pair = hexadecimal(self._votes.pair[row], 20) if self._votes.pair[row] else None
            leaked.setdefault((item, pair or ""), (match, pair, []))[2].append(
                hexadecimal(self._votes.event[row], 20)
            )
        with (self._folder / CONTAMINATION_FILE).open("wb") as stream:
            for (item, _), (match, pair, events) in sorted(leaked.items()):
                row = {
                    "pair": pair,
                    "item": item,
                    "held_out": match.held_out,
                    "kind": match.kind,
                    "share": float(match.share),
                    "events": events,
                }
                stream.write(canonical_json(row))
        return len(leaked)

    def set_aside(
        self,
        places: NDArray[np.int16],
        first_rows: NDArray[np.int64],
        reasons: ExclusionReasons,
    ) -> dict[str, int]:
        """Write the events that are nowhere else, sorted by id; `places` is the reason of each
        event, 0 for none. Returns the events by reason."""
        chosen = np.flatnonzero(places)
        texts = [canonical_json(text)[:-1] for text in reasons.texts]
        with (self._folder / SET_ASIDE_FILE).open("wb") as stream:
            for event, reason in zip(
                self._votes.event[first_rows[chosen]].tolist(), places[chosen].tolist(), strict=True
            ):
                stream.write(
                    b'{"id":"%b","reason":%b}\n' % (hexadecimal(event, 20).encode(), texts[reason])
                )
        counts = np.bincount(places[chosen], minlength=len(reasons.texts)).tolist()
        return {
            text: count for text, count in sorted(zip(reasons.texts, counts, strict=True)) if count
        }

    def _events(self, settled: AggregatedLabels, pairs: DecidedPairs) -> Iterator[list[bytes]]:
        """Ids of the events behind each decision, sorted."""
        for start, stop in zip(pairs.start.tolist(), pairs.stop.tolist(), strict=True):
            yield [
                hexadecimal(event, 20).encode()
                for event in self._votes.event[settled.rows[start:stop]].tolist()
            ]

    def _ratings(self, settled: AggregatedLabels, pairs: DecidedPairs) -> Iterator[bytes]:
        """Mean difference of the scores of chosen and rejected by dimension, over the votes that
        rated both, as JSON."""
        if self._votes.ratings is None:
            yield from [b"{}"] * len(pairs)
            return
        for start, stop, side in zip(
            pairs.start.tolist(), pairs.stop.tolist(), pairs.side.tolist(), strict=True
        ):
            scores = self._votes.ratings[settled.rows[start:stop]]
            given = {
                name: [score for score in scores[:, place].tolist() if score != NO_RATING]
                for place, name in enumerate(DIMENSIONS)
            }
            sign = -1 if side else 1
            yield canonical_json(
                {
                    name: sign * math.fsum(values) / len(values)
                    for name, values in given.items()
                    if values
                }
            )[:-1]


# Canonical JSON of a `PreferencePair` around texts that are JSON already: nothing is parsed again.
_PAIR_LINE: Final = (
    b'{"agreement":%(agreement)a,"chosen":%(chosen)b,"context":%(context)b,'
    b'"event_ids":["%(event_ids)b"],"id":"%(id)b","margin":%(margin)a,"prompt":%(prompt)b,'
    b'"ratings":%(ratings)b,"rejected":%(rejected)b,"rubric":%(rubric)b,'
    b'"synthetic":%(synthetic)b,"votes":%(votes)d,"weight":%(weight)a}\n'
)
_TRUTH: dict[bool, Literal[b"true", b"false"]] = {True: b"true", False: b"false"}


def _line(values: Mapping[str, Any], parts: Mapping[str, bytes]) -> bytes:
    """Canonical JSON of an object of which some values are JSON already."""
    encoded = {name: canonical_json(value)[:-1] for name, value in values.items()} | dict(parts)
    return (
        b"{"
        + b",".join(canonical_json(name)[:-1] + b":" + encoded[name] for name in sorted(encoded))
        + b"}\n"
    )
