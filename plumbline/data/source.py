"""A profile's data: from the sandbox, or from files below the folder that PLUMBLINE_DATA names."""

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Generic, TypeVar

from plumbline.config import CONFIGS, Profile, SandboxSource
from plumbline.data.importers import Attribution, Imported, import_demonstrations, import_feedback, import_held_out
from plumbline.data.schema import Demonstration, EvalPrompt
from plumbline.data.store import FeedbackStore
from plumbline.errors import DataError
from plumbline.records import Record
from plumbline.rubric import load_rubric
from plumbline.sandbox.records import SandboxOptions, demonstrations, eval_prompts, feedback_events

Item = TypeVar("Item", bound=Record)
DataFolder = Callable[[], Path]
"""Gives the folder of the input files, or raises ConfigError; called only when a profile reads files."""


@dataclass(frozen=True)
class Loaded(Generic[Item]):
    """Rows of a profile's source, and the rows that were refused, by reason."""

    rows: Sequence[Item]
    rows_in: int
    rejected: dict[str, int]


@dataclass
class Seeded:
    """What seeding did to the feedback store."""

    accepted: int = 0
    duplicate: int = 0
    rejected: dict[str, dict[str, int]] = field(default_factory=dict)
    """Reasons and counts of the rows that are no events, by batch."""


def load_demonstrations(profile: Profile, data_folder: DataFolder) -> Loaded[Demonstration]:
    """The demonstrations of a profile."""
    if isinstance(profile.source, SandboxSource):
        rows = tuple(demonstrations(sandbox_options(profile, profile.source)))
        return Loaded(rows, len(rows), {})
    folder = data_folder()
    return _joined([import_demonstrations(folder, file, _attribution(profile)) for file in profile.source.demonstrations])


def load_held_out_prompts(profile: Profile, data_folder: DataFolder) -> Loaded[EvalPrompt]:
    """The held-out prompts of a profile."""
    if isinstance(profile.source, SandboxSource):
        rows = tuple(eval_prompts(sandbox_options(profile, profile.source)))
        return Loaded(rows, len(rows), {})
    folder = data_folder()
    return _joined([import_held_out(folder, file) for file in profile.source.held_out])


def seed_feedback(store: FeedbackStore, profile: Profile, data_folder: DataFolder) -> Seeded:
    """Put a profile's own feedback into the store as closed batches; a second time changes nothing."""
    seeded = Seeded()
    known = store.batches()
    if isinstance(profile.source, SandboxSource):
        events = list(feedback_events(sandbox_options(profile, profile.source)))
        batches = {
            f"sandbox-{number:03d}": events[start : start + profile.batches.max_events]
            for number, start in enumerate(range(0, len(events), profile.batches.max_events), start=1)
        }
    else:
        folder = data_folder()
        batches = {}
        for file in profile.source.feedback:
            for name, imported in import_feedback(folder, file, _attribution(profile)).items():
                batches[name] = list(imported.items)
                if imported.report.rejected:
                    seeded.rejected[name] = imported.report.rejected
    for name, batch in batches.items():
        try:
            store.add_batch(name, batch)
        except DataError as error:
            raise DataError(
                f"{error}. The data of profile '{profile.name}' changed since it was first run: name the profile differently, or `make clean`"
            ) from error
        if any(one.id == name for one in known):
            seeded.duplicate += len(batch)
        else:
            seeded.accepted += len(batch)
    return seeded


def sandbox_options(profile: Profile, source: SandboxSource) -> SandboxOptions:
    """The sandbox knobs of a profile."""
    return SandboxOptions(
        seed=profile.seed,
        demonstrations=source.demonstrations,
        pairs=source.pairs,
        pair_languages=source.pair_languages,
        demonstration_languages=source.demonstration_languages,
        annotators=source.annotators,
        length_bias=source.length_bias,
        flip_rate=source.flip_rate,
        prompts_per_slice=source.prompts_per_slice,
        rubric=load_rubric(CONFIGS / profile.rubric).label,
    )


def _attribution(profile: Profile) -> Attribution:
    rubric = load_rubric(CONFIGS / profile.rubric)
    return Attribution(rubric=rubric.label, approved_by=rubric.approval.approved_by)


def _joined(imports: Sequence[Imported[Item]]) -> Loaded[Item]:
    rejected: Counter[str] = Counter()
    for one in imports:
        rejected.update(one.report.rejected)
    return Loaded([item for one in imports for item in one.items], sum(one.report.rows_in for one in imports), dict(sorted(rejected.items())))
