"""Which accepted prompts repeat or contain a held-out one; looked for once for each batch and
remembered, because a vault seldom changes."""

import hashlib
import json
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow.parquet as pq

from plumbline.data.batch_index.index import INDEX
from plumbline.data.batch_index.spans import EventLines
from plumbline.data.decontamination.contamination import HeldOutIndex, HeldOutMatch
from plumbline.errors import DataError
from plumbline.profile.data import ContaminationConfig
from plumbline.records import canonical_json, parse_json
from plumbline.schema.conversations import Message
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.kinds import ACCEPTED_FILE
from plumbline.storage.import_closure import closure_digest

if TYPE_CHECKING:
    from _typeshed import SupportsRichComparison

_KINDS = ("exact", "normalized", "containment")
_AT_ONCE = 2048
"""Prompts that are read and compared at once."""


def held_out_matches(
    batches: Sequence[Path],
    indexes: Sequence[Path],
    vault: Iterable[EvalPrompt],
    rule: ContaminationConfig,
    remembered: Path | None,
) -> dict[bytes, HeldOutMatch]:
    """The best match of each prompt group that has one, by its key of 32 bytes.

    The wordings of one prompt group can match differently: the best of them counts, whatever batch
    it is in.

    Args:
        batches: Folders with accepted.jsonl.
        indexes: Folders with their indexes.
        vault: Held-out prompts.
        rule: When a prompt counts as held out.
        remembered: Folder of earlier results, by batch, vault, rule and the code that this
            module can import; None looks at every prompt again.
    """
    prompts = sorted(vault, key=lambda prompt: prompt.id)
    searched: HeldOutIndex | None = None
    best: dict[bytes, HeldOutMatch] = {}
    identity = canonical_json([closure_digest(__name__), rule.model_dump()]) + b"".join(
        prompt.to_json() for prompt in prompts
    )
    for batch, index in zip(batches, indexes, strict=True):
        place = (
            remembered
            / f"{hashlib.sha256(identity + (index / INDEX).read_bytes()).hexdigest()}.json"
            if remembered
            else None
        )
        if place is not None and place.is_file():
            matches = _read(place)
        else:
            searched = searched or HeldOutIndex(prompts, rule)
            matches = _matches_of(batch, index, searched)
            if place is not None:
                _write(place, matches)
        for key, match in matches.items():
            best[key] = min(best.get(key, match), match, key=_rank)
    return best


def _rank(match: HeldOutMatch) -> "SupportsRichComparison":
    return (_KINDS.index(match.kind), -match.share, match.held_out)


def _matches_of(batch: Path, index: Path, searched: HeldOutIndex) -> dict[bytes, HeldOutMatch]:
    best: dict[bytes, HeldOutMatch] = {}
    with EventLines([batch / ACCEPTED_FILE]) as lines:
        for rows in _first_rows(index):
            texts = dict.fromkeys(
                (
                    row["prompt"],
                    lines.read(0, row["offset"], row["length"])[
                        row["prompt_at"] : row["prompt_to"]
                    ],
                )
                for row in rows
            )
            prompts = [
                tuple(Message.model_construct(**turn) for turn in json.loads(text))
                for _, text in texts
            ]
            for (key, _), match in zip(texts, searched.matches(prompts), strict=True):
                if match is not None:
                    best[key] = min(best.get(key, match), match, key=_rank)
    return best


def _first_rows(index: Path) -> Iterator[list[dict[str, Any]]]:
    """The first row of each event, some at a time."""
    columns = ["prompt", "offset", "length", "prompt_at", "prompt_to", "first"]
    for batch in pq.ParquetFile(index / INDEX, page_checksum_verification=True).iter_batches(
        batch_size=_AT_ONCE, columns=columns
    ):
        yield [row for row in batch.to_pylist() if row["first"]]


def _read(place: Path) -> dict[bytes, HeldOutMatch]:
    try:
        rows = parse_json(place.read_bytes())
        return {
            bytes.fromhex(key): HeldOutMatch(held_out, kind, share)
            for key, held_out, kind, share in rows
        }
    except (ValueError, TypeError) as error:
        raise DataError(
            f"{place}: is no list of held-out prompts: {error}; remove it, and it is made again"
        ) from error


def _write(place: Path, matches: dict[bytes, HeldOutMatch]) -> None:
    place.parent.mkdir(parents=True, exist_ok=True)
    descriptor, temporary = tempfile.mkstemp(dir=place.parent)
    try:
        with os.fdopen(descriptor, "wb") as stream:
            stream.write(
                canonical_json([[key.hex(), *match] for key, match in sorted(matches.items())])
            )
        os.replace(temporary, place)
    except BaseException:
        Path(temporary).unlink(missing_ok=True)
        raise
