"""When new feedback retrains the candidate, and in words why it does not yet."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta

from plumbline.profile.data import RetrainingConfig
from plumbline.records import canonical_json, sha256


@dataclass(frozen=True)
class AdmittedBatch:
    """A feedback batch that admission has looked at."""

    tree: str
    """Tree digest of what was accepted and quarantined; it changes when the batch is admitted again
    with another outcome."""
    approved: int
    """Events that were accepted."""
    rubric: str
    """Label of the rubric that admission judged by."""
    erased: bool = False
    """Whether its text was erased since, so that nothing can be built from it."""


@dataclass(frozen=True)
class TrainedOn:
    """The preference data behind the newest policy of the candidate recipe."""

    batches: Mapping[str, str]
    """Batch to the tree digest that the data was built from."""
    rubric: str
    """Label of the rubric, `name@version`."""
    withdrawals: str
    """Digest of the withdrawals of consent that were known."""
    at: datetime
    """When the policy was trained."""


@dataclass(frozen=True)
class Feedback:
    """What the feedback loop knows at one moment."""

    admitted: Mapping[str, AdmittedBatch]
    rubric: str
    """Label of the rubric that is in force."""
    withdrawals: str
    """Digest of all withdrawals of consent."""
    registered: int = 0
    """Closed batches, admitted or not."""
    trained: TrainedOn | None = None
    """None while the candidate was never trained."""

    @property
    def new(self) -> dict[str, AdmittedBatch]:
        """Batches that are not behind the newest policy."""
        known = {} if self.trained is None else self.trained.batches
        return {
            name: batch for name, batch in self.admitted.items() if known.get(name) != batch.tree
        }

    @property
    def stale(self) -> dict[str, AdmittedBatch]:
        """Batches that have to be admitted again: their text was erased, or they were judged by a
        rubric that is no longer in force."""
        return {
            name: batch
            for name, batch in self.admitted.items()
            if batch.erased or batch.rubric != self.rubric
        }

    @property
    def approved(self) -> int:
        """Newly approved events: accepted, and not behind the newest policy."""
        return sum(batch.approved for batch in self.new.values())

    def digest(self, profile: str) -> str:
        """Digest of everything that a retraining would start from; late, repeated and reordered
        deliveries of one set have the same.

        Args:
            profile: Digest of the profile.
        """
        batches = {name: batch.tree for name, batch in self.admitted.items()}
        return sha256(
            canonical_json(
                {
                    "batches": batches,
                    "profile": profile,
                    "rubric": self.rubric,
                    "withdrawals": self.withdrawals,
                }
            )
        )


@dataclass(frozen=True)
class Retrain:
    """A retraining is due."""

    reason: str


@dataclass(frozen=True)
class Wait:
    """A retraining is not due."""

    reason: str


def decide_retraining(
    feedback: Feedback, rule: RetrainingConfig, now: datetime, *, scheduled: bool = False
) -> Retrain | Wait:
    """Whether the candidate is to be trained again.

    A new version of the rubric and a withdrawal of consent retrain at once: the policy in use
    follows a text that no longer holds, or rests on data that may no longer be used. Otherwise the
    rule's number of newly approved events must be there, and its cooldown over.

    Args:
        feedback: What is there.
        rule: The rule of the profile.
        now: The time to judge the cooldown by.
        scheduled: True when the schedule asks: it does not wait for the cooldown.
    """
    count = len(feedback.admitted)
    if not feedback.admitted:
        return Wait(f"no feedback batch is admitted yet; {feedback.registered} registered")
    if feedback.stale:
        return Wait(
            f"{len(feedback.stale)} of {count} batches wait to be admitted again under"
            f" {feedback.rubric}: another rubric judged them, or text was erased"
        )
    trained = feedback.trained
    if trained is not None:
        if trained.rubric != feedback.rubric:
            return Retrain(
                f"the rubric is {feedback.rubric}; the newest policy was trained under"
                f" {trained.rubric}"
            )
        if trained.withdrawals != feedback.withdrawals:
            return Retrain("consent was withdrawn since the data of the newest policy was built")
    approved = f"{feedback.approved} of {rule.min_events} newly approved events"
    if not feedback.new:
        return Wait(
            f"all {count} admitted batches are in the data of the newest policy; {approved}"
        )
    if feedback.approved < rule.min_events:
        return Wait(
            f"{approved} (retraining.min_events); {len(feedback.new)} of {count} admitted batches"
            " are new"
        )
    ends = now if trained is None else trained.at + timedelta(hours=rule.cooldown_hours)
    if ends > now and not scheduled:
        return Wait(
            f"{approved} are there; the cooldown (retraining.cooldown_hours:"
            f" {rule.cooldown_hours:g}) ends {ends:%Y-%m-%d %H:%M} UTC"
        )
    return Retrain(
        f"{approved} in {len(feedback.new)} new batches{', on schedule' if scheduled else ''}"
    )
