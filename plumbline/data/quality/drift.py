"""Drift: how a version of the preference data differs from the one before, and its prompts from
those that the policy meets."""

import json
import math
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from statistics import NormalDist
from typing import Literal

import numpy as np
import polars as pl
from pydantic import Field
from sklearn.feature_extraction.text import HashingVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import StratifiedKFold

from plumbline.data.splits import judged_pair
from plumbline.errors import DataError, InsufficientEvidence
from plumbline.profile.data import DriftConfig
from plumbline.records import Record, sha256
from plumbline.schema.estimates import Estimate
from plumbline.schema.preferences import PreferencePair
from plumbline.statistics.intervals import proportion

LEVEL = 0.95
MIN_PROMPTS = 50
"""Prompts that each side of `prompt_shift` needs."""
_FOLDS = 5
_FEATURES = 2**16
_WORDS_NAMED = 10


class DriftReport(Record):
    """A dataset version beside the one before."""

    status: Literal["pass", "drifted", "first version"]
    reasons: tuple[str, ...] = Field(
        description="what went over its limit, or why something was not compared"
    )
    pairs: int = Field(ge=0)
    previous_pairs: int | None = Field(description="null: there is no version before")
    common: int = Field(ge=0, description="pairs of both versions")
    flipped: int = Field(ge=0, description="common pairs whose label turned round")
    flips: Estimate | None = Field(
        description="flipped of common; null when there is no common pair"
    )
    flipped_pairs: tuple[str, ...] = Field(description="keys of the flipped pairs, at most 100")
    mix_distance: float | None = Field(
        ge=0,
        le=1,
        description=(
            "total variation distance between the shares of the slices; null without a version"
            " before"
        ),
    )
    mix: dict[str, tuple[float, float]] = Field(
        description="share of each slice in the version before and in this one"
    )
    longer_wins: Estimate | None = Field(
        description=(
            "share of the pairs of unequal length whose longer response, in characters, is chosen"
        )
    )
    previous_longer_wins: Estimate | None


class PromptShift(Record):
    """How well a classifier tells training prompts from deployment prompts."""

    status: Literal["measured", "underpowered"]
    training: int = Field(ge=0, description="prompts, each text once")
    deployment: int = Field(ge=0)
    auc: float | None = Field(
        description="held-out area under the ROC curve: 0.5 cannot tell them apart, 1 always can"
    )
    low: float | None = Field(description="lower end of the 95 % interval (Hanley and McNeil 1982)")
    high: float | None
    missing: tuple[str, ...] = Field(
        description="words that deployment prompts have most above training prompts"
    )
    message: str


def pair_frame(pairs: Iterable[PreferencePair]) -> pl.DataFrame:
    """One narrow row per pair: pair (key of prompt and both responses), chosen (digest), slice,
    chosen_characters, rejected_characters."""
    rows = (
        (
            judged_pair(p.prompt, (p.chosen, p.rejected)),
            sha256(p.chosen.encode())[7:23],
            p.context.slice,
            len(p.chosen),
            len(p.rejected),
        )
        for p in pairs
    )
    schema = {
        "pair": pl.String,
        "chosen": pl.String,
        "slice": pl.String,
        "chosen_characters": pl.Int64,
        "rejected_characters": pl.Int64,
    }
    return pl.DataFrame(rows, schema=schema, orient="row")


def drift(
    previous: pl.DataFrame | None, current: pl.DataFrame, rule: DriftConfig, same_rubric: bool
) -> DriftReport:
    """Compare two versions of the preference data, given as `pair_frame` gives them.

    Args:
        previous: The version before; None for the first.
        current: The version to judge.
        rule: The largest share of flipped labels and the largest distance between the mixes.
        same_rubric: Whether both were made under one rubric version; a new version of the rubric
            may turn labels round, an old one may not.
    """
    longer = _longer_wins(current)
    if previous is None:
        return _first_version(len(current), longer)
    both = previous.join(current, on="pair", suffix="_now")
    turned = both.filter(both["chosen"] != both["chosen_now"])
    mix = _mix(previous, current)
    distance = sum(abs(before - now) for before, now in mix.values()) / 2
    over: list[str] = []
    notes: list[str] = []
    if both.height == 0:
        notes.append("no pair is in both versions, so that flips cannot be counted")
    elif turned.height > rule.max_flipped * both.height:
        message = (
            f"{turned.height} of {both.height} labels turned round"
            f" ({turned.height / both.height:.1%}, limit {rule.max_flipped:.1%})"
        )
        (over if same_rubric else notes).append(
            message + ("" if same_rubric else " under a new version of the rubric")
        )
    if distance > rule.max_mix:
        worst = max(mix, key=lambda name: abs(mix[name][0] - mix[name][1]))
        message = f"slice '{worst}' went from {mix[worst][0]:.1%} to {mix[worst][1]:.1%}"
        over.append(
            f"the mix of the slices moved by {distance:.3f} (limit {rule.max_mix:g}): {message}"
        )
    return DriftReport(
        status="drifted" if over else "pass",
        reasons=(*over, *notes),
        pairs=current.height,
        previous_pairs=previous.height,
        common=both.height,
        flipped=turned.height,
        flips=_share(turned.height, both.height),
        flipped_pairs=tuple(sorted(turned["pair"])[:100]),
        mix_distance=distance,
        mix=mix,
        longer_wins=longer,
        previous_longer_wins=_longer_wins(previous),
    )


def _first_version(pairs: int, longer_wins: Estimate | None) -> DriftReport:
    return DriftReport(
        status="first version",
        reasons=("there is no version before to compare with",),
        pairs=pairs,
        previous_pairs=None,
        common=0,
        flipped=0,
        flips=None,
        flipped_pairs=(),
        mix_distance=None,
        mix={},
        longer_wins=longer_wins,
        previous_longer_wins=None,
    )


def _mix(previous: pl.DataFrame, current: pl.DataFrame) -> dict[str, tuple[float, float]]:
    shares = [
        {name: count / frame.height for name, count in frame["slice"].value_counts().iter_rows()}
        for frame in (previous, current)
    ]
    return {
        name: (shares[0].get(name, 0.0), shares[1].get(name, 0.0))
        for name in sorted(shares[0].keys() | shares[1].keys())
    }


def _longer_wins(pairs: pl.DataFrame) -> Estimate | None:
    longer = int((pairs["chosen_characters"] > pairs["rejected_characters"]).sum())
    shorter = int((pairs["chosen_characters"] < pairs["rejected_characters"]).sum())
    return _share(longer, longer + shorter)


def _share(count: int, n: int) -> Estimate | None:
    try:
        return proportion([True] * count + [False] * (n - count), LEVEL)
    except InsufficientEvidence:
        return None


def prompt_shift(training: Iterable[str], deployment: Iterable[str], seed: int = 0) -> PromptShift:
    """Classifier two-sample test (Lopez-Paz and Oquab 2017) between the prompts of the training
    data and those of a deployment.

    A logistic regression on hashed word counts is fitted on four fifths of the prompts and scores
    the last fifth, in turn. The interval takes the scores of all folds as one sample and the
    prompts as independent. A shift that words do not show is not found.

    Args:
        training: Prompts of the preference data; each text counts once.
        deployment: Prompts that the policy met; each text counts once.
        seed: Of the folds.
    """
    sides = [sorted(set(training)), sorted(set(deployment))]
    sizes = {"training": len(sides[0]), "deployment": len(sides[1])}
    if min(sizes.values()) < MIN_PROMPTS:
        few = (
            f"{sizes['training']} training and {sizes['deployment']} deployment prompts are too"
            f" few; each side needs {MIN_PROMPTS}"
        )
        return PromptShift(
            status="underpowered", **sizes, auc=None, low=None, high=None, missing=(), message=few
        )
    auc = _held_out_auc(sides, seed)
    n, m = sizes["training"], sizes["deployment"]
    # Variance of the AUC by Hanley and McNeil 1982, equation 2, with the exponential approximation
    # of Q1 and Q2.
    q1, q2 = auc / (2 - auc), 2 * auc**2 / (1 + auc)
    width = NormalDist().inv_cdf((1 + LEVEL) / 2) * math.sqrt(
        max(0.0, auc * (1 - auc) + (m - 1) * (q1 - auc**2) + (n - 1) * (q2 - auc**2)) / (n * m)
    )
    low, high = max(0.0, auc - width), min(1.0, auc + width)
    told = "cannot be told apart" if low <= 0.5 else "differ"
    message = (
        f"training and deployment prompts {told}: AUC {auc:.3f} [{low:.3f}, {high:.3f}], 0.5 is no"
        " difference"
    )
    return PromptShift(
        status="measured",
        **sizes,
        auc=auc,
        low=low,
        high=high,
        missing=_missing_words(sides),
        message=message,
    )


def _held_out_auc(sides: Sequence[Sequence[str]], seed: int) -> float:
    labels = np.array([side for side, prompts in enumerate(sides) for _ in prompts])
    counts = HashingVectorizer(n_features=_FEATURES, alternate_sign=False).transform(
        [prompt for prompts in sides for prompt in prompts]
    )
    scores = np.zeros(len(labels))
    for fitted, held in StratifiedKFold(_FOLDS, shuffle=True, random_state=seed).split(
        counts, labels
    ):
        model = LogisticRegression(max_iter=1000, class_weight="balanced").fit(
            counts[fitted], labels[fitted]
        )
        scores[held] = model.decision_function(counts[held])
    return float(roc_auc_score(labels, scores))


def _missing_words(sides: Sequence[Sequence[str]]) -> tuple[str, ...]:
    """The words whose share of prompts is most above that of the training prompts, ties by name."""
    shares: list[Mapping[str, float]] = []
    for prompts in sides:
        counts = Counter(
            word
            for prompt in prompts
            for word in set(unicodedata.normalize("NFKC", prompt).casefold().split())
        )
        shares.append({word: count / len(prompts) for word, count in counts.items()})
    excess = {word: share - shares[0].get(word, 0.0) for word, share in shares[1].items()}
    return tuple(
        sorted(
            (word for word, value in excess.items() if value > 0),
            key=lambda word: (-excess[word], word),
        )[:_WORDS_NAMED]
    )


def read_deployment_prompts(path: Path) -> list[str]:
    """The prompts of a JSONL file whose rows are `{"prompt": "..."}`; other fields are passed over.

    Raises:
        DataError: If a row is something else; names file and row.
    """
    prompts = []
    with path.open("rb") as stream:
        for row, line in enumerate(stream, start=1):
            try:
                value = json.loads(line)
            except ValueError as error:
                raise DataError(
                    f"{path}: row {row}: not usable JSON: {error}; correct the row or take it out"
                ) from error
            if not isinstance(value, dict) or not isinstance(value.get("prompt"), str):
                raise DataError(
                    f'{path}: row {row}: expected {{"prompt": "text"}}; correct the row or take'
                    " it out"
                )
            prompts.append(value["prompt"])
    return prompts
