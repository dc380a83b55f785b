"""A batch of feedback: which events are admitted, and what the checks of its annotators found."""

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Final

from plumbline.data.batch_index.frames import read_index
from plumbline.data.batch_index.index import write_batch
from plumbline.data.quality.agreement import AgreementTally
from plumbline.data.quality.agreement_report import AgreementReport
from plumbline.data.screening.admission import REDACTED, AdmissionCounts, admit_into
from plumbline.data.screening.annotator_quality import (
    VOTE_COLUMNS,
    AnnotatorReport,
    Flood,
    check_annotators,
    disagreements,
    flooding,
    votes_of_index,
)
from plumbline.data.screening.flags import findings, raise_new, sent_by
from plumbline.data.screening.trigger_words import TriggerReport, scan_triggers
from plumbline.data.store.events import FeedbackStore
from plumbline.profile.profile import Profile
from plumbline.schema.feedback import FeedbackEvent, QuarantinedEvent
from plumbline.schema.kinds import ACCEPTED_FILE, AGREEMENT_FILE, ANNOTATORS_FILE, QUARANTINED_FILE
from plumbline.schema.rubric import Rubric
from plumbline.storage.jsonl import read_records

TRIGGERS_FILE: Final = "triggers.json"
FLOODING_FROM: Final = 20
"""Events from which a batch can be flooded: in a handful that closed by age, one annotator has a
large share without meaning to."""


@dataclass(frozen=True)
class BatchInputs:
    """What a batch is made from."""

    store: FeedbackStore
    batch: str
    rubric: Rubric
    control_tokens: Sequence[str]
    """Tokens of the chat template that no text may hold."""
    now: datetime
    """Consents that expire at this time or before have ended."""


@dataclass(frozen=True)
class FeedbackBatch:
    """What the files of a batch hold."""

    counts: AdmissionCounts
    indexed_annotators: int
    agreement: AgreementReport
    annotators: AnnotatorReport
    triggers: TriggerReport
    flags: Sequence[str]
    """Flags that were raised for a person, in words."""


def build_batch(inputs: BatchInputs, profile: Profile, folder: Path) -> FeedbackBatch:
    """Screen the events of a closed batch into a folder, check its annotators, and flag what was
    found for a person."""
    counts, tally, given = AdmissionCounts(), AgreementTally(), Counter[str]()
    events = inputs.store.batch_events(inputs.batch)
    admitted = admit_into(
        folder, events, inputs.rubric, inputs.now, counts, list(inputs.control_tokens)
    )
    index = write_batch(
        folder, _tallied(admitted, tally, given), profile.preferences.near_duplicates
    )
    agreement = tally.report(profile.evaluation.level, profile.seed)
    votes = votes_of_index(read_index([folder], VOTE_COLUMNS))
    checked = check_annotators(votes, profile.annotators)
    triggers = scan_triggers(
        lambda: read_records(folder / ACCEPTED_FILE, FeedbackEvent),
        disagreements(votes),
        profile.annotators,
    )
    (folder / AGREEMENT_FILE).write_bytes(agreement.to_json())
    (folder / ANNOTATORS_FILE).write_bytes(checked.to_json())
    (folder / TRIGGERS_FILE).write_bytes(triggers.to_json())
    sent = sent_by(inputs.store.database, inputs.batch)
    floods = _floods(given, sent, counts.events, profile)
    found = findings(f"batch {inputs.batch}", checked, floods, triggers, sent)
    flags = raise_new(inputs.store.database, found, inputs.now)
    return FeedbackBatch(counts, index.annotators, agreement, checked, triggers, flags)


def _floods(
    given: Counter[str], sent: dict[str, list[str]], events: int, profile: Profile
) -> list[Flood]:
    """Annotators and sources with too large a share of the batch."""
    if events < FLOODING_FROM:
        return []
    sources = {source: len(identifiers) for source, identifiers in sent.items()}
    return [
        *flooding(given, profile.annotators),
        *flooding(sources, profile.annotators, "source", total=events),
    ]


def _tallied(
    events: Iterable[FeedbackEvent], tally: AgreementTally, given: Counter[str]
) -> Iterator[FeedbackEvent]:
    """The events as they pass, counted for the agreement and by annotator."""
    for event in events:
        tally.add(event)
        given[event.annotator] += 1
        yield event


def miscounted(folder: Path, events: Iterable[FeedbackEvent]) -> str | None:
    """How the files of a batch differ from its events in the store, in words; None where every
    event is accepted or quarantined, once."""
    expected = sorted(event.id for event in events)
    quarantined = {
        event.id: event.reasons
        for event in read_records(folder / QUARANTINED_FILE, QuarantinedEvent)
    }
    # A redacted event replaces the one that was quarantined for it, and has an id of its own.
    kept = [
        event.id
        for event in read_records(folder / ACCEPTED_FILE, FeedbackEvent)
        if event.redacted_from is None or REDACTED not in quarantined.get(event.redacted_from, ())
    ]
    if sorted([*kept, *quarantined]) == expected:
        return None
    return (
        f"{len(expected)} events in the store, {len(kept)} accepted as they stand and"
        f" {len(quarantined)} quarantined here"
    )
