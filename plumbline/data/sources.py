"""A profile's data: from the sandbox, or from files below the folder that PLUMBLINE_DATA names."""

from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Final, Generic, TypeVar

from plumbline.data.formats.import_report import Attribution, Imported, ImportedRow
from plumbline.data.formats.reading import (
    feedback_batches,
    feedback_format,
    import_demonstrations,
    import_held_out,
    read_feedback,
)
from plumbline.data.readers.files import read_rows
from plumbline.data.readers.rows import file_digest
from plumbline.data.store.batches import batch_digest
from plumbline.data.store.deliveries import Deliveries
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.spool import ParsedUpload
from plumbline.errors import DataError
from plumbline.profile.profile import CONFIGS, Profile
from plumbline.profile.sources import SandboxSource, SourceFile
from plumbline.records import Record
from plumbline.sandbox.datasets import SandboxOptions, demonstrations, eval_prompts, feedback_events
from plumbline.sandbox.verdicts import verdict_events
from plumbline.sandbox.world import parse_intent
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.preferences import Demonstration
from plumbline.schema.rubric import load_rubric

SANDBOX_SUITE: Final = "sandbox"
Item = TypeVar("Item", bound=Record)
DataFolder = Callable[[], Path]
"""Gives the folder of the input files, or raises ConfigError; called only when a profile reads
files."""


@dataclass(frozen=True)
class Loaded(Generic[Item]):
    """Rows of a profile's source, and the rows that were refused, by reason."""

    rows: Sequence[Item]
    rows_in: int
    rejected: dict[str, int]


@dataclass(frozen=True)
class HeldOut(Loaded[EvalPrompt]):
    """Held-out prompts, and where those of each suite come from."""

    sources: Mapping[str, str]


@dataclass
class InitialFeedback:
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
    return _joined(
        [
            import_demonstrations(folder, file, _attribution(profile))
            for file in profile.source.demonstrations
        ]
    )


def load_held_out_prompts(profile: Profile, data_folder: DataFolder) -> HeldOut:
    """The held-out prompts of a profile: its own source, and the suites that come with
    Plumbline."""
    if isinstance(profile.source, SandboxSource):
        parts = [_sandbox_held_out(profile, profile.source)]
    else:
        folder = data_folder()
        parts = [
            _held_out(import_held_out(folder, file), file.path) for file in profile.source.held_out
        ]
    parts += [
        _held_out(
            import_held_out(CONFIGS, SourceFile(format="jsonl", path=f"vault/{name}.jsonl")),
            f"configs/vault/{name}.jsonl",
        )
        for name in profile.vault.own
    ]
    return _one_vault(parts)


def seed_feedback(
    store: FeedbackStore, profile: Profile, data_folder: DataFolder
) -> InitialFeedback:
    """Put a profile's own feedback into the store as closed batches, each a delivery of its own; a
    second time changes nothing.

    Raises:
        DataError: If a file cannot be read, or holds other events than when the profile was first
            run.
    """
    if isinstance(profile.source, SandboxSource):
        uploads = _sandbox_uploads(profile, profile.source)
    else:
        uploads = _file_uploads(profile.source.feedback, _attribution(profile), data_folder())
    seeded = InitialFeedback()
    for name, upload in uploads:
        with upload:
            try:
                (delivery,) = Deliveries(store).deliver_uploads(
                    [upload], datetime.now(UTC), batch=name
                )
            except DataError as error:
                raise DataError(
                    f"{error}. The data of profile '{profile.name}' changed since it was first run:"
                    " name the profile differently, or `make clean`"
                ) from error
            seeded.accepted += delivery.accepted
            seeded.duplicate += upload.report.accepted - delivery.accepted
            if upload.report.rejected:
                seeded.rejected[name] = upload.report.rejected
    return seeded


def _sandbox_uploads(profile: Profile, source: SandboxSource) -> Iterator[tuple[str, ParsedUpload]]:
    options, size = sandbox_options(profile, source), profile.batches.max_events
    for prefix, stream in (
        ("sandbox", feedback_events(options)),
        ("sandbox-verdicts", verdict_events(options)),
    ):
        events = list(stream)
        for number, start in enumerate(range(0, len(events), size), start=1):
            batch = events[start : start + size]
            arrivals = (ImportedRow(row, 0, 0, event) for row, event in enumerate(batch, start=1))
            yield (
                f"{prefix}-{number:03d}",
                ParsedUpload(
                    f"the sandbox of profile {profile.name}",
                    "cli",
                    arrivals,
                    batch_digest(event.id for event in batch),
                ),
            )


def _file_uploads(
    sources: Sequence[SourceFile], attribution: Attribution, folder: Path
) -> Iterator[tuple[str, ParsedUpload]]:
    for source in sources:
        for name, path in feedback_batches(folder, source).items():
            rows = read_feedback(
                read_rows(path), feedback_format(source), attribution, source.limit
            )
            yield name, ParsedUpload(path.name, "file", rows, file_digest(path))


def sandbox_options(profile: Profile, source: SandboxSource) -> SandboxOptions:
    """The sandbox knobs of a profile."""
    return SandboxOptions(
        seed=profile.seed,
        demonstrations=source.demonstrations,
        pairs=source.pairs,
        verdicts=source.verdicts,
        pair_languages=source.pair_languages,
        demonstration_languages=source.demonstration_languages,
        annotators=source.annotators,
        length_bias=source.length_bias,
        flip_rate=source.flip_rate,
        prompts_per_slice=source.prompts_per_slice,
        rubric=load_rubric(CONFIGS / profile.rubric).label,
    )


def _sandbox_held_out(profile: Profile, source: SandboxSource) -> HeldOut:
    rows = [_as_sandbox_suite(prompt) for prompt in eval_prompts(sandbox_options(profile, source))]
    return HeldOut(rows, len(rows), {}, {SANDBOX_SUITE: f"the sandbox with seed {profile.seed}"})


def _as_sandbox_suite(prompt: EvalPrompt) -> EvalPrompt:
    """A prompt of the sandbox in its suite, with the facts that say what it tests beside its
    intent."""
    facts = dict(prompt.facts)
    if parse_intent(facts["intent"]).kind in ("own", "idiom"):
        facts["borderline"] = "yes"
    if prompt.context.slice.endswith("-story"):
        facts["template"] = "story"
    return prompt.model_copy(update={"suite": SANDBOX_SUITE, "facts": facts})


def _held_out(imported: Imported[EvalPrompt], path: str) -> HeldOut:
    return HeldOut(
        imported.items,
        imported.report.rows_in,
        imported.report.rejected,
        {item.suite: path for item in imported.items},
    )


def _one_vault(parts: Sequence[HeldOut]) -> HeldOut:
    """Everything together; of prompts that stand twice in one suite the first stays."""
    rows: dict[str, EvalPrompt] = {}
    rejected: Counter[str] = Counter()
    sources: dict[str, str] = {}
    for part in parts:
        rejected.update(part.rejected)
        for prompt in part.rows:
            if prompt.id in rows:
                rejected["stands in another file of its suite"] += 1
            rows.setdefault(prompt.id, prompt)
        for suite, source in part.sources.items():
            sources[suite] = f"{sources[suite]}, {source}" if suite in sources else source
    return HeldOut(
        list(rows.values()),
        sum(part.rows_in for part in parts),
        dict(sorted(rejected.items())),
        sources,
    )


def _attribution(profile: Profile) -> Attribution:
    rubric = load_rubric(CONFIGS / profile.rubric)
    return Attribution(rubric=rubric.label, approved_by=rubric.approval.approved_by)


def _joined(imports: Sequence[Imported[Item]]) -> Loaded[Item]:
    rejected: Counter[str] = Counter()
    for imported in imports:
        rejected.update(imported.report.rejected)
    return Loaded(
        [item for imported in imports for item in imported.items],
        sum(imported.report.rows_in for imported in imports),
        dict(sorted(rejected.items())),
    )
