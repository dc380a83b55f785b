"""The rules of a profile by which feedback becomes training data."""

from typing import Literal

from pydantic import Field

from plumbline.records import Record
from plumbline.schema.identifiers import RelativePath, Text


class BatchConfig(Record):
    """When a feedback batch closes."""

    max_events: int = Field(gt=0, description="a batch closes when it holds this many events")
    max_age_hours: float = Field(
        gt=0, description="a batch closes when its oldest event was received this long ago"
    )


class RetrainingConfig(Record):
    """When new feedback retrains the candidate; a new rubric version or a withdrawal of consent
    does so at once."""

    min_events: int = Field(gt=0, description="newly admitted events that a retraining needs")
    cooldown_hours: float = Field(
        ge=0, description="hours that must pass between two retrainings; 168 is a week"
    )
    schedule: Text = Field(
        description=(
            "cron expression, in UTC, of the schedule that retrains when there is enough feedback,"
            " whatever the cooldown says"
        )
    )


class SplitShares(Record):
    """Shares of the prompt groups; what is left over after validation and calibration is train."""

    validation: float = Field(gt=0, lt=0.5)
    calibration: float = Field(gt=0, lt=0.5)


class NearDuplicateConfig(Record):
    """Which pairs count as nearly the same, by the Jaccard similarity of the word shingles of
    prompt and responses."""

    shingle: int = Field(gt=0, description="words in a shingle")
    threshold: float = Field(
        gt=0, le=1, description="similarity from which two pairs are near duplicates"
    )
    action: Literal["report", "set_aside"] = Field(
        description=(
            "`report` counts them; `set_aside` keeps one of each group, and of two sides of the"
            " split the held one"
        )
    )


class ContaminationConfig(Record):
    """Which prompts count as held-out ones, beyond equality: by the share of their n-grams that
    stand in one held-out prompt."""

    ngram: int = Field(gt=0, description="words in an n-gram; a shorter prompt is one n-gram")
    threshold: float = Field(
        gt=0, le=1, description="contained share from which a pair is set aside"
    )


class PreferenceConfig(Record):
    """How events become pairs, and the suite that certifies them."""

    split: SplitShares
    min_agreement: float = Field(
        ge=0.5,
        le=1,
        description=(
            "pairs whose votes agree less are set aside for adjudication, counted as `low"
            " agreement`"
        ),
    )
    near_duplicates: NearDuplicateConfig
    contamination: ContaminationConfig
    suite: RelativePath


class AnnotatorConfig(Record):
    """What is flagged about annotators; a flag waits for a person, and its events with it."""

    agreement_floor: float = Field(
        ge=0,
        le=0.5,
        description=(
            "an annotator is flagged whose agreement with the others is below theirs by more than"
            " this share, beyond chance"
        ),
    )
    false_alarms: float = Field(
        gt=0, lt=0.5, description="family-wise rate of flags among honest annotators"
    )
    detectable: float = Field(
        gt=0,
        le=1,
        description=(
            "share of flipped votes that the check has to be able to find; with too few votes it"
            " reports `underpowered`"
        ),
    )
    max_share: float = Field(
        gt=0, le=1, description="largest share of a batch that one annotator may have given"
    )


class DriftConfig(Record):
    """How far a version of the preference data may move from the one before, under the same
    rubric."""

    max_flipped: float = Field(
        ge=0, le=1, description="share of the pairs of both versions whose label turned round"
    )
    max_mix: float = Field(
        ge=0,
        le=1,
        description="total variation distance between the slices of both versions, 0 to 1",
    )


class ReviewConfig(Record):
    """When people decide what votes did not."""

    proposal_after: int = Field(
        gt=0, description="decisions on one clause that open a proposal to revise the rubric"
    )


class DemonstrationConfig(Record):
    """The suite that certifies the demonstrations."""

    suite: RelativePath
