"""The gates on feedback and training data: admission, annotators, the build of pairs, drift,
certificates."""

from collections import Counter
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from plumbline.data.batch_index.frames import read_index
from plumbline.data.batch_index.index import write_batch
from plumbline.data.preferences.build import build_preferences
from plumbline.data.quality.audit_frames import demonstration_frame, preference_frame
from plumbline.data.quality.certificate import Certificate, certify
from plumbline.data.quality.drift import DriftReport, drift, pair_frame
from plumbline.data.screening.admission import PERSONAL_DATA, AdmissionCounts, admit_into
from plumbline.data.screening.annotator_quality import (
    AnnotatorReport,
    check_annotators,
    disagreements,
    flooding,
    votes_of_index,
)
from plumbline.data.screening.flags import AGREEMENT, FLOODING, TRIGGER, findings
from plumbline.data.screening.trigger_words import TriggerReport, scan_triggers
from plumbline.profile.profile import CONFIGS
from plumbline.schema.feedback import FeedbackEvent
from plumbline.schema.kinds import ACCEPTED_FILE
from plumbline.schema.preferences import SPLITS, PreferencePair
from plumbline.schema.suites import Suite, load_suite
from plumbline.storage.jsonl import read_records
from resources.expectations import validate
from tests.gallery.worlds import World, fresh_folder, stage

Found = dict[str, str | None]
"""Gate to what it found; None where it let the world pass."""
REASONS = (
    "consent scope",
    "consent version",
    "consent expired",
    "other rubric",
    "empty prompt",
    "prompt does not end with the user",
    "empty response",
    "same response",
    "control token",
)
"""Why admission quarantines an event (`plumbline.data.screening.admission.reasons_against`)."""
REFUSED_BY_BUILD = ("held-out prompt",)


class Batch:
    """One admitted batch and what its checks said."""

    def __init__(
        self,
        folder: Path,
        counts: AdmissionCounts,
        annotators: AnnotatorReport,
        triggers: TriggerReport,
        raised: Mapping[str, str],
    ) -> None:
        self.folder = folder
        self.counts = counts
        self.annotators = annotators
        self.triggers = triggers
        self.raised = raised


@stage("events", "rubric", "now", "profile")
def batch(world: World) -> Batch:
    """What the asset `feedback` makes of the events."""
    folder, counts, rule = fresh_folder(), AdmissionCounts(), world.profile.annotators
    write_batch(
        folder,
        admit_into(folder, world.events, world.rubric, world.now, counts),
        world.profile.preferences.near_duplicates,
    )
    accepted = list(read_records(folder / ACCEPTED_FILE, FeedbackEvent))
    votes = votes_of_index(read_index([folder]))
    checked = check_annotators(votes, rule)
    triggers = scan_triggers(lambda: accepted, disagreements(votes), rule)
    floods = flooding(Counter(event.annotator for event in accepted), rule)
    flags = findings("batch gallery", checked, floods, triggers)
    return Batch(
        folder,
        counts,
        checked,
        triggers,
        {flag.kind: f"{flag.subject}: {flag.evidence['message']}" for flag in flags},
    )


def admission(world: World) -> Found:
    """Every reason for quarantine is a gate, and so is each kind of finding in a text."""
    counts = batch(world).counts
    found: Found = {f"admission: {reason}": _events(counts.reasons[reason]) for reason in REASONS}
    personal = sum(
        number for kind, number in counts.findings.items() if kind.startswith(PERSONAL_DATA)
    )
    hostile = sum(
        number
        for kind, number in counts.findings.items()
        if not kind.startswith(PERSONAL_DATA) and kind != "control token"
    )
    return found | {
        "check: personal data": _events(personal),
        "check: hostile text": _events(hostile),
    }


def annotators(world: World) -> Found:
    """The flags that hold an annotator's or a word's events until a person decides."""
    raised = batch(world).raised
    return {f"flag: {kind}": raised.get(kind) for kind in (AGREEMENT, FLOODING, TRIGGER)}


@stage("events", "rubric", "now", "profile", "vault")
def build(world: World) -> tuple[Path, dict[str, int]]:
    """The folder of the preference data and the counts of their build."""
    folder = fresh_folder() / "data"
    built = build_preferences(
        [batch(world).folder],
        folder,
        world.rubric,
        world.profile.preferences,
        world.seed,
        world.vault,
    )
    return folder, built.counts


@stage("events", "rubric", "now", "profile", "vault", "pairs")
def training_pairs(world: World) -> Mapping[str, tuple[PreferencePair, ...]]:
    """Pairs by split."""
    if world.pairs is not None:
        return world.pairs
    folder, _ = build(world)
    return {name: tuple(read_records(folder / f"{name}.jsonl", PreferencePair)) for name in SPLITS}


def decontamination(world: World) -> Found:
    """The build sets events aside whose prompt is held out."""
    _, counts = build(world)
    return {
        f"build: {reason}": _events(counts.get(f"set aside: {reason}", 0))
        for reason in REFUSED_BY_BUILD
    }


@stage("events", "rubric", "now", "profile", "vault", "pairs", "previous")
def moved(world: World) -> DriftReport:
    """This version of the data beside the one before."""
    current = pair_frame(pair for pairs in training_pairs(world).values() for pair in pairs)
    return drift(pair_frame(world.previous), current, world.profile.drift, same_rubric=True)


@stage("events", "rubric", "now", "profile", "vault", "pairs")
def preference_certificate(world: World) -> tuple[Certificate, Suite]:
    """The certificate of the preference data."""
    frame = preference_frame(
        training_pairs(world), world.vault, world.rubric, world.profile.preferences.contamination
    )
    return _certified(frame, load_suite(CONFIGS / world.profile.preferences.suite))


@stage("demonstrations", "rubric", "vault", "profile")
def demonstration_certificate(world: World) -> tuple[Certificate, Suite]:
    """The certificate of the demonstrations."""
    frame = demonstration_frame(world.demonstrations, world.vault, world.rubric)
    return _certified(frame, load_suite(CONFIGS / world.profile.demonstrations.suite))


def _certified(frame: Any, suite: Suite) -> tuple[Certificate, Suite]:
    return certify("sha256:" + "0" * 64, suite, len(frame), validate(frame, suite)), suite


def certificates(world: World) -> Found:
    """Every expectation of both suites."""
    found: Found = {}
    for certificate, suite in (demonstration_certificate(world), preference_certificate(world)):
        for check in certificate.checks:
            found[f"certificate: {suite.name}/{check.id}"] = check.problem(suite.minimum_rows)
    return found


def _events(number: int) -> str | None:
    return f"{number} events" if number else None
