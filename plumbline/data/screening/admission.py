"""Admission: which feedback events may enter training, why the others may not, and what a person
should look at.

Everything is judged event by event, in a stream. An event is quarantined with every reason, or
admitted with what was found in its text; personal data are handled as the rubric says (`pii`):
flagged, quarantined, or redacted. A redacted event is replaced by a new one, with the id of its own
content, that names the original in `redacted_from`; the original is quarantined as `redacted`, so
that what goes in equals what was accepted as it stands plus what was quarantined.
"""

from collections import Counter
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, NamedTuple

from pydantic import Field

from plumbline.records import Record
from plumbline.schema.conversations import Message, Response
from plumbline.schema.feedback import FeedbackEvent, QuarantinedEvent
from plumbline.schema.identifiers import Identifier, Text
from plumbline.schema.kinds import QUARANTINED_FILE
from plumbline.schema.rubric import Rubric
from plumbline.text.control_tokens import find_control_token, has_control_token
from plumbline.text.pii import find, redact
from plumbline.text.unsafe_characters import escaped, find_suspicious_text

FINDINGS_FILE = "findings.jsonl"
CONTROL_TOKEN = "control token"  # noqa: S105 - why an event is held back, not a password
REDACTED = "redacted"
PERSONAL_DATA = "personal data"


class ScreeningFinding(Record):
    """One kind of suspicious or personal text in one field of an event."""

    kind: Text = Field(
        description=(
            "`control token`, a kind of `hostile_text`, or `personal data: ` and a kind of"
            " `personal_data`"
        )
    )
    field: Text = Field(description="`prompt[0]`, `responses[1]` or `reason`")
    count: int = Field(gt=0)
    excerpt: str = Field(
        description=(
            "the first place, escaped; empty for personal data, which would be copied otherwise"
        )
    )


class ScreenedEvent(Record):
    """An event with findings, admitted or not: one row of findings.jsonl."""

    id: Identifier
    findings: tuple[ScreeningFinding, ...] = Field(min_length=1)


class Admitted(NamedTuple):
    """An event that may enter training."""

    event: FeedbackEvent
    findings: tuple[ScreeningFinding, ...] = ()
    redacted: bool = False
    """Whether it replaces the event that was quarantined as `redacted` just before it."""


class Quarantined(NamedTuple):
    """An event that may not, with every reason."""

    event: FeedbackEvent
    reasons: tuple[str, ...]
    findings: tuple[ScreeningFinding, ...] = ()


@dataclass
class AdmissionCounts:
    """What became of a stream of events; `events` equals `accepted - redacted + quarantined`."""

    accepted: int = 0
    quarantined: int = 0
    redacted: int = 0
    reasons: Counter[str] = field(default_factory=Counter)
    findings: Counter[str] = field(default_factory=Counter)
    """Events by kind of finding; an event with two kinds counts under both."""

    def add(self, verdict: Admitted | Quarantined) -> None:
        """Count one verdict."""
        if isinstance(verdict, Quarantined):
            self.quarantined += 1
            self.reasons.update(verdict.reasons)
        else:
            self.accepted += 1
            self.redacted += verdict.redacted
        self.findings.update({finding.kind for finding in verdict.findings})

    @property
    def events(self) -> int:
        """Events that went in."""
        return self.accepted - self.redacted + self.quarantined

    def facts(self) -> dict[str, Any]:
        """The counts as JSON, with names in order."""
        totals = {
            "events": self.events,
            "accepted": self.accepted,
            "quarantined": self.quarantined,
            "redacted": self.redacted,
        }
        return totals | {
            "reasons": dict(sorted(self.reasons.items())),
            "findings": dict(sorted(self.findings.items())),
        }


def screen(
    events: Iterable[FeedbackEvent],
    rubric: Rubric,
    now: datetime,
    control_tokens: Collection[str] = (),
) -> Iterator[Admitted | Quarantined]:
    """Judge each event by itself under the rubric; the order of the events is kept.

    Args:
        events: Any number of events; one is held at a time.
        rubric: Its label and the labels that it accepts, its consent versions, and what becomes of
            personal data.
        now: The time at which consent has to be valid.
        control_tokens: Tokens of the chat template in use, beyond those that are control tokens
            anywhere (see `control_tokens`).
    """
    for event in events:
        findings = findings_in(event)
        reasons = reasons_against(event, rubric, now, control_tokens)
        personal = any(finding.kind.startswith(PERSONAL_DATA) for finding in findings)
        if personal and rubric.pii == "quarantine":
            reasons += (PERSONAL_DATA,)
        if CONTROL_TOKEN in reasons:
            findings += _control_tokens_in(event, control_tokens)
        if reasons or not (personal and rubric.pii == "redact"):
            yield Quarantined(event, reasons, findings) if reasons else Admitted(event, findings)
            continue
        replacement = redacted(event)
        reasons = reasons_against(replacement, rubric, now, control_tokens)
        yield Quarantined(event, (REDACTED, *reasons), findings)
        if not reasons:
            yield Admitted(replacement, redacted=True)


def admit_into(
    folder: Path,
    events: Iterable[FeedbackEvent],
    rubric: Rubric,
    now: datetime,
    counts: AdmissionCounts,
    control_tokens: Collection[str] = (),
) -> Iterator[FeedbackEvent]:
    """Yield the admitted events, and write the others and all findings beside them.

    `quarantined.jsonl` (`QuarantinedEvent`) and `findings.jsonl` (`ScreenedEvent`) are complete
    when the iterator ends.

    Args:
        folder: An existing folder.
        events: Any number of events.
        rubric: See `screen`.
        now: See `screen`.
        counts: Counts every verdict.
        control_tokens: See `screen`.
    """
    with (
        (folder / QUARANTINED_FILE).open("xb") as quarantine,
        (folder / FINDINGS_FILE).open("xb") as findings,
    ):
        for verdict in screen(events, rubric, now, control_tokens):
            counts.add(verdict)
            if verdict.findings:
                findings.write(
                    ScreenedEvent(id=verdict.event.id, findings=verdict.findings).to_json()
                )
            if isinstance(verdict, Quarantined):
                quarantine.write(
                    QuarantinedEvent(id=verdict.event.id, reasons=verdict.reasons).to_json()
                )
            else:
                yield verdict.event


@dataclass(frozen=True)
class Admission:
    """Every event of a collection in memory, either accepted or quarantined."""

    accepted: list[FeedbackEvent]
    quarantined: list[tuple[FeedbackEvent, tuple[str, ...]]]

    @property
    def reasons(self) -> dict[str, int]:
        """Quarantined events by reason; an event with two reasons counts under both."""
        return dict(
            sorted(Counter(reason for _, reasons in self.quarantined for reason in reasons).items())
        )


def admit(
    events: Iterable[FeedbackEvent], rubric: Rubric, now: datetime | None = None
) -> Admission:
    """`screen` for events that fit into memory; consent has to be valid now unless another time is
    given."""
    verdicts = list(screen(events, rubric, now or datetime.now(UTC)))
    return Admission(
        accepted=[verdict.event for verdict in verdicts if isinstance(verdict, Admitted)],
        quarantined=[
            (verdict.event, verdict.reasons)
            for verdict in verdicts
            if isinstance(verdict, Quarantined)
        ],
    )


def reasons_against(
    event: FeedbackEvent, rubric: Rubric, now: datetime, control_tokens: Collection[str] = ()
) -> tuple[str, ...]:
    """Every reason why an event may not enter training, personal data aside; empty when it may."""
    texts = [response.text for response in event.responses]
    stripped = [text.strip() for text in texts]
    findings = {
        "consent scope": event.consent.scope != "training",
        "consent version": event.consent.version not in rubric.consent,
        "consent expired": consent_expired(event, now),
        "other rubric": event.rubric != rubric.label and event.rubric not in rubric.accepts,
        "empty prompt": any(not message.content.strip() for message in event.prompt),
        "prompt does not end with the user": event.prompt[-1].role != "user",
        "empty response": not all(stripped),
        "same response": len(set(stripped)) < len(stripped),
        CONTROL_TOKEN: has_control_token(event.prompt, *texts, tokens=control_tokens),
    }
    return tuple(reason for reason, applies in findings.items() if applies)


def consent_expired(event: FeedbackEvent, now: datetime) -> bool:
    """Whether the consent had an end, and it has come."""
    return event.consent.expires is not None and event.consent.expires <= now


def findings_in(event: FeedbackEvent) -> tuple[ScreeningFinding, ...]:
    """What is suspicious or personal in the texts of an event, in the order of its fields."""
    findings = []
    for name, text in _texts(event):
        findings += [
            ScreeningFinding(
                kind=oddity.kind, field=name, count=oddity.count, excerpt=oddity.excerpt
            )
            for oddity in find_suspicious_text(text)
        ]
        kinds = Counter(datum.kind for datum in find(text))
        findings += [
            ScreeningFinding(kind=f"{PERSONAL_DATA}: {kind}", field=name, count=count, excerpt="")
            for kind, count in sorted(kinds.items())
        ]
    return tuple(findings)


def _control_tokens_in(
    event: FeedbackEvent, tokens: Collection[str]
) -> tuple[ScreeningFinding, ...]:
    first = ((name, find_control_token(text, tokens)) for name, text in _texts(event))
    return tuple(
        ScreeningFinding(kind=CONTROL_TOKEN, field=name, count=1, excerpt=escaped(token))
        for name, token in first
        if token is not None
    )


def redacted(event: FeedbackEvent) -> FeedbackEvent:
    """The event with its personal data replaced by their kinds, under a new id, naming the event
    that it replaces."""
    fields = {name: getattr(event, name) for name in FeedbackEvent.model_fields if name != "id"}
    fields |= {
        "prompt": tuple(
            Message(role=message.role, content=redact(message.content)) for message in event.prompt
        ),
        "responses": tuple(
            Response(text=redact(response.text), source=response.source)
            for response in event.responses
        ),
        "reason": None if event.reason is None else redact(event.reason),
        "redacted_from": event.id,
    }
    return FeedbackEvent.create(**fields)


def _texts(event: FeedbackEvent) -> Iterator[tuple[str, str]]:
    yield from ((f"prompt[{index}]", message.content) for index, message in enumerate(event.prompt))
    yield from (
        (f"responses[{index}]", response.text) for index, response in enumerate(event.responses)
    )
    if event.reason is not None:
        yield "reason", event.reason
