"""Audit frames: what the suites look at, one narrow row per pair or demonstration, without the text itself."""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import TYPE_CHECKING

from plumbline.data.control_tokens import has_control_token
from plumbline.data.prompt_groups import held_out_keys, judged_pair, prompt_key
from plumbline.data.schema import Demonstration, EvalPrompt, Message, PreferencePair
from plumbline.rubric import Rubric

if TYPE_CHECKING:
    import pandas


def preference_frame(splits: Mapping[str, Sequence[PreferencePair]], held_out: Iterable[EvalPrompt], rubric: Rubric) -> "pandas.DataFrame":
    """One row per pair, by split and then in the order of the file.

    Columns: id, split (names); prompt_characters, chosen_characters, rejected_characters (without white space at the ends; 0 when a turn is
    blank); same_response; margin (reward units); votes, events (counts); agreement (share); prompt_on_two_sides (the prompt group stands in
    another split too); held_out_prompt; control_token (in prompt or responses); duplicate_pair (the same prompt and responses, in either
    order, stand in another row); rubric_matches (the pair was judged under this rubric).
    """
    import polars as pl

    rows = [(split, pair) for split, pairs in splits.items() for pair in pairs]
    pairs = [pair for _, pair in rows]
    frame = pl.DataFrame(
        {
            "id": [pair.id for pair in pairs],
            "split": [split for split, _ in rows],
            "prompt_key": [prompt_key(pair.prompt) for pair in pairs],
            "judged": [judged_pair(pair.prompt, (pair.chosen, pair.rejected)) for pair in pairs],
            "prompt_characters": [_characters(pair.prompt) for pair in pairs],
            "chosen": [pair.chosen for pair in pairs],
            "rejected": [pair.rejected for pair in pairs],
            "margin": [pair.margin for pair in pairs],
            "votes": [pair.votes for pair in pairs],
            "agreement": [pair.agreement for pair in pairs],
            "events": [len(pair.event_ids) for pair in pairs],
            "control_token": [has_control_token(pair.prompt, pair.chosen, pair.rejected) for pair in pairs],
            "rubric_matches": [pair.rubric == rubric.label for pair in pairs],
        },
        schema={
            "id": pl.String,
            "split": pl.String,
            "prompt_key": pl.String,
            "judged": pl.String,
            "prompt_characters": pl.Int64,
            "chosen": pl.String,
            "rejected": pl.String,
            "margin": pl.Float64,
            "votes": pl.Int64,
            "agreement": pl.Float64,
            "events": pl.Int64,
            "control_token": pl.Boolean,
            "rubric_matches": pl.Boolean,
        },
    )
    vault = held_out_keys(held_out)
    texts = [pl.col("chosen").str.strip_chars(), pl.col("rejected").str.strip_chars()]
    return (
        frame.with_columns(
            chosen_characters=texts[0].str.len_chars().cast(pl.Int64),
            rejected_characters=texts[1].str.len_chars().cast(pl.Int64),
            same_response=texts[0] == texts[1],
            prompt_on_two_sides=pl.col("split").n_unique().over("prompt_key") > 1,
            held_out_prompt=pl.col("prompt_key").is_in(sorted(vault)),
            duplicate_pair=pl.len().over("judged") > 1,
        )
        .select(PREFERENCE_COLUMNS)
        .to_pandas()
    )


def demonstration_frame(demonstrations: Sequence[Demonstration], held_out: Iterable[EvalPrompt], rubric: Rubric) -> "pandas.DataFrame":
    """One row per demonstration, in order.

    Columns: id; prompt_characters, response_characters (without white space at the ends); control_token; duplicate (the same prompt and
    response stand in another row); consent_training (scope is training and the rubric admits the version); held_out_prompt.
    """
    import polars as pl

    vault = held_out_keys(held_out)
    keys = [prompt_key(item.prompt) for item in demonstrations]
    repeats = Counter(zip(keys, (item.response for item in demonstrations), strict=True))
    return pl.DataFrame(
        {
            "id": [item.id for item in demonstrations],
            "prompt_characters": [_characters(item.prompt) for item in demonstrations],
            "response_characters": [len(item.response.strip()) for item in demonstrations],
            "control_token": [has_control_token(item.prompt, item.response) for item in demonstrations],
            "duplicate": [repeats[key, item.response] > 1 for key, item in zip(keys, demonstrations, strict=True)],
            "consent_training": [item.consent.scope == "training" and item.consent.version in rubric.consent for item in demonstrations],
            "held_out_prompt": [key in vault for key in keys],
        },
        schema=dict(zip(DEMONSTRATION_COLUMNS, (pl.String, pl.Int64, pl.Int64, pl.Boolean, pl.Boolean, pl.Boolean, pl.Boolean), strict=True)),
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
DEMONSTRATION_COLUMNS = ["id", "prompt_characters", "response_characters", "control_token", "duplicate", "consent_training", "held_out_prompt"]


def _characters(prompt: Sequence[Message]) -> int:
    """Characters of a conversation; 0 when one of its turns is blank, so that a bound of 1 finds it."""
    lengths = [len(message.content.strip()) for message in prompt]
    return 0 if min(lengths) == 0 else sum(lengths)
