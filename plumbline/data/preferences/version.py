"""A version of the preference data: the pairs of all admitted batches, less what people decided
against, with what was found about the labels."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from plumbline.data.preferences.build import PreferenceCounts, build_preferences
from plumbline.data.preferences.recorded_decisions import RecordedDecisions
from plumbline.data.quality.agreement import agreement_of_batches
from plumbline.data.quality.agreement_report import AgreementReport
from plumbline.profile.profile import Profile
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.kinds import AGREEMENT_FILE, ANNOTATORS_FILE
from plumbline.schema.rubric import Rubric


@dataclass(frozen=True)
class VersionInputs:
    """What a version is made from; every folder was verified by digest before."""

    batches: Sequence[Path]
    rubric: Rubric
    held_out: Sequence[EvalPrompt]
    decided: RecordedDecisions
    remembered: Path
    """Folder in which the search for held-out prompts keeps its results by batch."""


@dataclass(frozen=True)
class PreferenceVersion:
    """What the files of a version hold."""

    built: PreferenceCounts
    agreement: AgreementReport

    @property
    def splits(self) -> dict[str, int]:
        """Pairs by split."""
        return {str(name): pairs for name, pairs in self.built.splits.items()}


def build_version(inputs: VersionInputs, profile: Profile, folder: Path) -> PreferenceVersion:
    """Write the files of a version into a folder; the same inputs give the same bytes."""
    decided = inputs.decided
    built = build_preferences(
        inputs.batches,
        folder,
        inputs.rubric,
        profile.preferences,
        profile.seed,
        inputs.held_out,
        excluded=decided.excluded,
        adjudications=decided.adjudications,
        remembered=inputs.remembered,
    )
    agreement = agreement_of_batches(
        inputs.batches, profile.evaluation.level, profile.seed, decided.excluded
    )
    (folder / AGREEMENT_FILE).write_bytes(agreement.to_json())
    (folder / ANNOTATORS_FILE).write_bytes(decided.annotators.to_json())
    return PreferenceVersion(built, agreement)
