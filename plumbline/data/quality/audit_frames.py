"""Audit frames: what the suites look at, one narrow row per pair or demonstration, without the text
itself."""

import itertools
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import pandas
import polars as pl

from plumbline.data.decontamination.contamination import HeldOutIndex
from plumbline.data.splits import held_out_keys, judged_pair, prompt_key
from plumbline.profile.data import ContaminationConfig
from plumbline.schema.conversations import Message
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.preferences import Demonstration, PreferencePair
from plumbline.schema.rubric import Rubric
from plumbline.text.control_tokens import has_control_token

_CHUNK = 8192
"""Rows that are held as Python objects at once."""


def preference_frame(
    splits: Mapping[str, Iterable[PreferencePair]],
    held_out: Iterable[EvalPrompt],
    rubric: Rubric,
    contamination: ContaminationConfig | None = None,
) -> pandas.DataFrame:
    """One row per pair, by split and then in the order given; the pairs are read once, so that they
    can come from a file one by one.

    Columns: id, split (names); prompt_characters, chosen_characters, rejected_characters (without
    white space at the ends; 0 when a turn is blank); same_response; margin (reward units); votes,
    events (counts); agreement (share); prompt_on_two_sides (the prompt group stands in another
    split too); held_out_prompt (by its key, and with a rule by its words too, see
    `plumbline.data.decontamination.contamination`); control_token (in prompt or responses);
    duplicate_pair (the same prompt and responses, in either order, stand in another row);
    rubric_matches (the pair was judged under this rubric or a version that it accepts).
    """
    types = dict(
        zip(_PREFERENCE_ROW, (getattr(pl, kind) for kind in _PREFERENCE_TYPES), strict=True)
    )
    vault, labels = list(held_out), {rubric.label, *rubric.accepts}
    keys, index = (
        held_out_keys(vault),
        HeldOutIndex(vault, contamination) if contamination else None,
    )
    pairs = ((split, pair) for split, pairs in splits.items() for pair in pairs)
    frames = [pl.DataFrame([], schema=types, orient="row")]
    while chunk := list(itertools.islice(pairs, _CHUNK)):
        matches = (
            index.matches([pair.prompt for _, pair in chunk]) if index else [None] * len(chunk)
        )
        rows = [
            _preference_row(split, pair, keys, match is not None, labels)
            for (split, pair), match in zip(chunk, matches, strict=True)
        ]
        frames.append(pl.DataFrame(rows, schema=types, orient="row"))
    return (
        pl.concat(frames)
        .with_columns(
            prompt_on_two_sides=pl.col("split").n_unique().over("prompt_key") > 1,
            duplicate_pair=pl.len().over("judged") > 1,
        )
        .select(PREFERENCE_COLUMNS)
        .to_pandas()
    )


def _preference_row(
    split: str, pair: PreferencePair, vault: frozenset[str], matched: bool, labels: set[str]
) -> tuple[Any, ...]:
    key = prompt_key(pair.prompt)
    chosen, rejected = pair.chosen.strip(), pair.rejected.strip()
    return (
        bytes.fromhex(key),
        bytes.fromhex(judged_pair(pair.prompt, (pair.chosen, pair.rejected))),
        pair.id,
        split,
        _characters(pair.prompt),
        len(chosen),
        len(rejected),
        chosen == rejected,
        pair.margin,
        pair.votes,
        pair.agreement,
        len(pair.event_ids),
        matched or key in vault,
        has_control_token(pair.prompt, pair.chosen, pair.rejected),
        pair.rubric in labels,
    )


def demonstration_frame(
    demonstrations: Sequence[Demonstration], held_out: Iterable[EvalPrompt], rubric: Rubric
) -> pandas.DataFrame:
    """One row per demonstration, in order.

    Columns: id; prompt_characters, response_characters (without white space at the ends);
    control_token; duplicate (the same prompt and response stand in another row); consent_training
    (scope is training and the rubric admits the version); held_out_prompt.
    """
    vault = held_out_keys(held_out)
    keys = [prompt_key(item.prompt) for item in demonstrations]
    repeats = Counter(zip(keys, (item.response for item in demonstrations), strict=True))
    return pl.DataFrame(
        {
            "id": [item.id for item in demonstrations],
            "prompt_characters": [_characters(item.prompt) for item in demonstrations],
            "response_characters": [len(item.response.strip()) for item in demonstrations],
            "control_token": [
                has_control_token(item.prompt, item.response) for item in demonstrations
            ],
            "duplicate": [
                repeats[key, item.response] > 1
                for key, item in zip(keys, demonstrations, strict=True)
            ],
            "consent_training": [
                item.consent.scope == "training" and item.consent.version in rubric.consent
                for item in demonstrations
            ],
            "held_out_prompt": [key in vault for key in keys],
        },
        schema=dict(
            zip(
                DEMONSTRATION_COLUMNS,
                (pl.String, pl.Int64, pl.Int64, pl.Boolean, pl.Boolean, pl.Boolean, pl.Boolean),
                strict=True,
            )
        ),
    ).to_pandas()


PREFERENCE_COLUMNS = [
    "id",
    "split",
    "prompt_characters",
    "chosen_characters",
    "rejected_characters",
    "same_response",
    "margin",
    "votes",
    "agreement",
    "events",
    "prompt_on_two_sides",
    "held_out_prompt",
    "control_token",
    "duplicate_pair",
    "rubric_matches",
]
_PREFERENCE_ROW = [
    "prompt_key",
    "judged",
    *(name for name in PREFERENCE_COLUMNS if name not in ("prompt_on_two_sides", "duplicate_pair")),
]
_PREFERENCE_TYPES = (
    "Binary",
    "Binary",
    "String",
    "String",
    *["Int64"] * 3,
    "Boolean",
    "Float64",
    "Int64",
    "Float64",
    "Int64",
    *["Boolean"] * 3,
)
DEMONSTRATION_COLUMNS = [
    "id",
    "prompt_characters",
    "response_characters",
    "control_token",
    "duplicate",
    "consent_training",
    "held_out_prompt",
]


def _characters(prompt: Sequence[Message]) -> int:
    """Characters of a conversation; 0 when one of its turns is blank, so that a bound of 1 finds
    it."""
    lengths = [len(message.content.strip()) for message in prompt]
    return 0 if min(lengths) == 0 else sum(lengths)
