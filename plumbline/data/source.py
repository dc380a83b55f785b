"""A profile's data: from the sandbox, or from files below the folder that PLUMBLINE_DATA names."""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Generic, TypeVar

from plumbline.config import CONFIGS, Profile, SandboxSource, SourceFile
from plumbline.data.batches import batch_digest
from plumbline.data.deliveries import Deliveries
from plumbline.data.importers import (
    Arrival,
    Attribution,
    Imported,
    feedback_batches,
    feedback_format,
    import_demonstrations,
    import_held_out,
    read_feedback,
)
from plumbline.data.lines import file_digest, read_rows
from plumbline.data.parcels import Parcel
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
    """Put a profile's own feedback into the store as closed batches, each a delivery of its own; a second time changes nothing.

    Raises:
        DataError: If a file cannot be read, or holds other events than when the profile was first run.
    """
    if isinstance(profile.source, SandboxSource):
        parcels = _sandbox_parcels(profile, profile.source)
    else:
        parcels = _file_parcels(profile.source.feedback, _attribution(profile), data_folder())
    seeded = Seeded()
    for name, parcel in parcels:
        with parcel:
            try:
                (delivery,) = Deliveries(store).deliver_parcels([parcel], datetime.now(UTC), batch=name)
            except DataError as error:
                raise DataError(
                    f"{error}. The data of profile '{profile.name}' changed since it was first run: name the profile differently, or `make clean`"
                ) from error
            seeded.accepted += delivery.accepted
            seeded.duplicate += parcel.report.accepted - delivery.accepted
            if parcel.report.rejected:
                seeded.rejected[name] = parcel.report.rejected
    return seeded


def _sandbox_parcels(profile: Profile, source: SandboxSource) -> Iterator[tuple[str, Parcel]]:
    events = list(feedback_events(sandbox_options(profile, source)))
    for number, start in enumerate(range(0, len(events), profile.batches.max_events), start=1):
        batch = events[start : start + profile.batches.max_events]
        arrivals = (Arrival(row, 0, 0, event) for row, event in enumerate(batch, start=1))
        yield f"sandbox-{number:03d}", Parcel(f"the sandbox of profile {profile.name}", "cli", arrivals, batch_digest(event.id for event in batch))


def _file_parcels(sources: Sequence[SourceFile], attribution: Attribution, folder: Path) -> Iterator[tuple[str, Parcel]]:
    for source in sources:
        for name, path in feedback_batches(folder, source).items():
            rows = read_feedback(read_rows(path), feedback_format(source), attribution, source.limit)
            yield name, Parcel(path.name, "file", rows, file_digest(path))


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
