"""Accuracy of a reward model on held-out pairs, beside the floors that anything should beat and the
ceiling that people set."""

from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from pydantic import Field

from plumbline.data.quality.baselines import bag_of_words_outcomes, human_ceiling, length_outcomes
from plumbline.errors import DataError
from plumbline.records import Record, parse_json
from plumbline.schema.estimates import Estimate
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.identifiers import Identifier
from plumbline.schema.kinds import (
    ACCEPTED_FILE,
    FEEDBACK_BATCH,
    PREFERENCE_DATA,
    REWARD_MODEL,
    VALIDATION_FILE,
)
from plumbline.schema.preferences import PreferencePair
from plumbline.statistics.intervals import proportion
from plumbline.statistics.verdicts import estimated, rate_text
from plumbline.storage.artifacts import Artifact, ArtifactStore
from plumbline.storage.jsonl import read_lines, read_records


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
            else f"people agree {rate_text(self.people)}"
        )
        floors = (
            f"length alone {rate_text(self.length)}, bag of words {rate_text(self.bag_of_words)}"
        )
        model = rate_text(self.model)
        return f"Reward model accuracy on validation pairs {model}; {floors}; {ceiling}."

    def to_markdown(self) -> str:
        """The comparison as a table for people."""
        named = {
            "reward model": self.model,
            "floor: length": self.length,
            "floor: bag of words": self.bag_of_words,
            "ceiling: people": self.people,
        }
        rows = [
            f"| {name} | {rate_text(estimate)} | {0 if estimate is None else estimate.n} |"
            for name, estimate in (named | self.slices).items()
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
            f"reward_accuracy/{name}": estimate.value
            for name, estimate in (named | self.slices).items()
            if estimate is not None
        }


def reward_accuracy(
    train: Sequence[PreferencePair],
    validation: Sequence[PreferencePair],
    rewards: Mapping[str, Rewards],
    events: Iterable[FeedbackEvent],
    confidence_level: float,
) -> RewardAccuracy:
    """Compare the reward model with its floors and its ceiling.

    Args:
        train: Pairs on which the floors are fitted.
        validation: Pairs on which everything is measured.
        rewards: The model's rewards by pair id; pairs that the worker dropped are missing and count
            as unscored.
        events: The judgments behind the data, for the ceiling.
        confidence_level: Two-sided confidence level.
    """
    outcomes = {pair.id: _outcome(rewards.get(pair.id)) for pair in validation}
    by_slice: dict[str, list[bool | None]] = {}
    for pair in validation:
        by_slice.setdefault(pair.context.slice, []).append(outcomes[pair.id])
    return RewardAccuracy(
        model=_estimate(list(outcomes.values()), confidence_level),
        slices={
            name: estimate
            for name, values in sorted(by_slice.items())
            if (estimate := _estimate(values, confidence_level)) is not None
        },
        length=_estimate(length_outcomes(validation), confidence_level),
        bag_of_words=_estimate(bag_of_words_outcomes(train, validation), confidence_level),
        people=_estimate(human_ceiling(events) or [], confidence_level),
    )


def measure_accuracy(store: ArtifactStore, reward_model: str, level: float) -> RewardAccuracy:
    """Accuracy of a reward model on the data that it was trained on.

    Args:
        store: Has the model, its data and the feedback behind them; every tree is verified.
        reward_model: Digest of the model.
        level: Confidence level of the intervals.
    """
    folder, model = store.open(reward_model, kind=REWARD_MODEL)
    data_folder, data = store.open(model.parents[PREFERENCE_DATA], kind=PREFERENCE_DATA)
    train, validation = (
        list(read_records(data_folder / f"{split}.jsonl", PreferencePair))
        for split in ("train", "validation")
    )
    rewards = read_rewards(folder / VALIDATION_FILE)
    return reward_accuracy(train, validation, rewards, judged_events(store, data), level)


def judged_events(store: ArtifactStore, data: Artifact) -> list[FeedbackEvent]:
    """The accepted events of every batch that preference data were made from."""
    batches = [
        store.open(digest, kind=FEEDBACK_BATCH)[0]
        for role, digest in data.parents.items()
        if role.startswith("feedback:")
    ]
    return [
        event for batch in batches for event in read_records(batch / ACCEPTED_FILE, FeedbackEvent)
    ]


def read_rewards(path: Path) -> dict[str, Rewards]:
    """Rewards by pair id from the validation.jsonl of a reward model.

    Raises:
        DataError: If a row is no object with id, chosen and rejected.
    """
    rewards: dict[str, Rewards] = {}
    for number, line in read_lines(path):
        try:
            row: Any = parse_json(line)
            rewards[row["id"]] = Rewards(chosen=row["chosen"], rejected=row["rejected"])
        except (KeyError, TypeError, ValueError) as error:
            raise DataError(
                f"{path}:{number}: is not a row of rewards (id, chosen, rejected): {error}"
            ) from error
    return rewards


def _outcome(rewards: Rewards | None) -> bool | None:
    return (
        None
        if rewards is None or rewards.chosen == rewards.rejected
        else rewards.chosen > rewards.rejected
    )


def _estimate(outcomes: Sequence[bool | None], confidence_level: float) -> Estimate | None:
    return estimated(lambda: proportion(outcomes, confidence_level))
