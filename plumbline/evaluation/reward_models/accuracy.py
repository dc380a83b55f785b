"""Accuracy of a reward model on held-out pairs, beside the floors that anything should beat and the
ceiling that people set."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from plumbline.data.quality.baselines import bag_of_words_outcomes, human_ceiling, length_outcomes
from plumbline.errors import DataError, InsufficientEvidence
from plumbline.records import Record, parse_json
from plumbline.schema.estimates import Estimate
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.identifiers import Identifier
from plumbline.schema.preferences import PreferencePair
from plumbline.statistics.intervals import proportion
from plumbline.storage.jsonl import read_lines


class Rewards(Record):
    """Rewards of one validation pair under the reward model, in reward units."""

    chosen: float
    rejected: float


class RewardAccuracy(Record):
    """How often the chosen response has the higher reward; null where there is nothing to estimate
    from."""

    model: Estimate | None
    slices: dict[Identifier, Estimate]
    length: Estimate | None = Field(description="floor: predict the longer response")
    bag_of_words: Estimate | None = Field(
        description="floor: Bradley-Terry on word counts, fitted on the training pairs"
    )
    people: Estimate | None = Field(
        description=(
            "ceiling: how often a judgment agrees with the majority of the others; null when no"
            " pair was judged twice"
        )
    )

    def sentence(self) -> str:
        """The comparison in one sentence."""
        ceiling = (
            "no pair was judged twice, so there is no human ceiling"
            if self.people is None
            else f"people agree {_text(self.people)}"
        )
        floors = f"length alone {_text(self.length)}, bag of words {_text(self.bag_of_words)}"
        return (
            f"Reward model accuracy on validation pairs {_text(self.model)}; {floors}; {ceiling}."
        )

    def to_markdown(self) -> str:
        """The comparison as a table for people."""
        named = {
            "reward model": self.model,
            "floor: length": self.length,
            "floor: bag of words": self.bag_of_words,
            "ceiling: people": self.people,
        }
        rows = [
            f"| {name} | {_text(one)} | {0 if one is None else one.n} |"
            for name, one in (named | self.slices).items()
        ]
        return "\n".join(["| predictor or slice | accuracy | n |", "|---|---|---|", *rows])

    def metrics(self) -> dict[str, float]:
        """Every value as a flat metric."""
        named = {
            "model": self.model,
            "length": self.length,
            "bag_of_words": self.bag_of_words,
            "people": self.people,
        }
        return {
            f"reward_accuracy/{name}": one.value
            for name, one in (named | self.slices).items()
            if one is not None
        }


def reward_accuracy(
    train: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    rewards: Mapping[str, Rewards],
    events: Iterable[FeedbackEvent],
    level: float,
) -> RewardAccuracy:
    """Compare the reward model with its floors and its ceiling.

    Args:
        train: Pairs on which the floors are fitted.
        validation: Pairs on which everything is measured.
        rewards: The model's rewards by pair id; pairs that the worker dropped are missing and count
            as unscored.
        events: The judgments behind the data, for the ceiling.
        level: Two-sided confidence level.
    """
    outcomes = {pair.id: _outcome(rewards.get(pair.id)) for pair in validation}
    by_slice: dict[str, list[bool | None]] = {}
    for pair in validation:
        by_slice.setdefault(pair.context.slice, []).append(outcomes[pair.id])
    return RewardAccuracy(
        model=_estimate(list(outcomes.values()), level),
        slices={
            name: found
            for name, values in sorted(by_slice.items())
            if (found := _estimate(values, level)) is not None
        },
        length=_estimate(length_outcomes(validation), level),
        bag_of_words=_estimate(bag_of_words_outcomes(train, validation), level),
        people=_estimate(human_ceiling(events) or [], level),
    )


def read_rewards(path: Path) -> dict[str, Rewards]:
    """Rewards by pair id from the validation.jsonl of a reward model.

    Raises:
        DataError: If a row is no object with id, chosen and rejected.
    """
    found: dict[str, Rewards] = {}
    for number, line in read_lines(path):
        try:
            row: Any = parse_json(line)
            found[row["id"]] = Rewards(chosen=row["chosen"], rejected=row["rejected"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}:{number}: is not a row of rewards (id, chosen, rejected): {error}"
            ) from error
    return found


def _outcome(rewards: Rewards | None) -> bool | None:
    return (
        None
        if rewards is None or rewards.chosen == rewards.rejected
        else rewards.chosen > rewards.rejected
    )


def _estimate(outcomes: Sequence[bool | None], level: float) -> Estimate | None:
    try:
        return proportion(outcomes, level)
    except InsufficientEvidence:
        return None


def _text(estimate: Estimate | None) -> str:
    return (
        "not measured"
        if estimate is None
        else f"{estimate.value:.1%} [{estimate.low:.1%}, {estimate.high:.1%}]"
    )
