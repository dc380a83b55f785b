"""Flags: what a check found about an annotator, a source or a word, and what a person decided about
it.

An open flag holds the events that it is about: they are set aside until somebody decides. `keep`
releases them, `exclude` holds them for good. Flags and decisions are only ever added; the newest
decision counts.
"""

import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Literal, NamedTuple

from pydantic import Field
from sqlalchemy import Connection, select

from plumbline.data.screening.annotator_quality import AnnotatorReport, Flood
from plumbline.data.screening.trigger_words import TriggerReport
from plumbline.data.store.database import Database, to_text
from plumbline.errors import DataError
from plumbline.records import Record, canonical_json, sha256

AGREEMENT, FLOODING, SOURCE, TRIGGER = (
    "annotator agreement",
    "annotator flooding",
    "source flooding",
    "trigger word",
)
FLAGGED_ANNOTATOR, FLAGGED_EVENT = "flagged annotator", "flagged event"
FlagAction = Literal["keep", "exclude"]


class FlagDecision(Record):
    """What a person decided about a flag."""

    decision: FlagAction
    by: str = Field(min_length=1)
    reason: str = Field(min_length=1)
    decided_at: str


class Flag(Record):
    """One finding of a check that waits for a person or was decided."""

    id: int
    kind: str
    subject: str = Field(description="the annotator, source or word")
    evidence: dict[str, Any]
    raised_at: str
    decision: FlagDecision | None = Field(description="the newest one; null: nobody decided yet")

    @property
    def status(self) -> str:
        """`open`, `keep` or `exclude`."""
        return "open" if self.decision is None else self.decision.decision


class NewFlag(NamedTuple):
    """A finding that is to be raised."""

    kind: str
    subject: str
    evidence: dict[str, Any]


class Holds(NamedTuple):
    """Whose events are held, and which, with the reason for setting them aside."""

    annotators: dict[str, str]
    events: dict[str, str]

    def reason(self, event_id: str, annotator: str) -> str | None:
        """Why an event is held, or None."""
        return self.annotators.get(annotator) or self.events.get(event_id)


class Flags:
    """The flags in the database of a feedback store."""

    def __init__(self, database: Database) -> None:
        self._database = database

    def raise_flag(
        self, kind: str, subject: str, evidence: Mapping[str, Any], now: datetime
    ) -> Flag:
        """Raise a flag; the same finding again is the flag that is there, decided or not."""
        flags = self._database.tables.flags
        body = canonical_json([kind, subject, dict(evidence)])
        digest = sha256(body)
        with self._database.writing() as connection:
            there = connection.execute(select(flags.c.id).where(flags.c.digest == digest)).scalar()
            if there is None:
                values = {
                    "kind": kind,
                    "subject": subject,
                    "evidence": canonical_json(dict(evidence)).decode(),
                    "digest": digest,
                    "raised_at": to_text(now),
                }
                connection.execute(flags.insert().values(**values))
                there = connection.execute(
                    select(flags.c.id).where(flags.c.digest == digest)
                ).scalar_one()
            return self._read(connection, there)[0]

    def decide(self, flag: int, decision: FlagAction, by: str, reason: str, now: datetime) -> Flag:
        """Decide about a flag; an earlier decision stays on record and counts no more.

        Raises:
            DataError: If there is no such flag, or name or reason are empty.
        """
        if not by.strip() or not reason.strip():
            raise DataError(f"flag {flag}: a decision needs a name and a reason; give both")
        if decision not in ("keep", "exclude"):
            raise DataError(f"flag {flag}: '{decision}' is not a decision; use keep or exclude")
        with self._database.writing() as connection:
            if not self._read(connection, flag):
                raise DataError(
                    f"flag {flag}: there is none of this number; `plumbline feedback flags list`"
                    " names them"
                )
            values = {
                "flag_id": flag,
                "decision": decision,
                "by": by,
                "reason": reason,
                "decided_at": to_text(now),
            }
            connection.execute(self._database.tables.flag_decisions.insert().values(**values))
            return self._read(connection, flag)[0]

    def all(self) -> tuple[Flag, ...]:
        """Every flag, the oldest first."""
        with self._database.reading() as connection:
            return self._read(connection)

    def _read(self, connection: Connection, only: int | None = None) -> tuple[Flag, ...]:
        flags, decisions = self._database.tables.flags, self._database.tables.flag_decisions
        wanted = (
            (select(flags), select(decisions))
            if only is None
            else (
                select(flags).where(flags.c.id == only),
                select(decisions).where(decisions.c.flag_id == only),
            )
        )
        newest = {
            row.flag_id: FlagDecision(
                decision=row.decision, by=row.by, reason=row.reason, decided_at=row.decided_at
            )
            for row in connection.execute(wanted[1].order_by(decisions.c.id))
        }
        return tuple(
            Flag(
                id=row.id,
                kind=row.kind,
                subject=row.subject,
                evidence=json.loads(row.evidence),
                raised_at=row.raised_at,
                decision=newest.get(row.id),
            )
            for row in connection.execute(wanted[0].order_by(flags.c.id))
        )


def holds(flags: Iterable[Flag]) -> Holds:
    """What open and excluded flags hold: all events of an annotator, or the events that the
    evidence names.

    A flag that somebody decided to keep releases its own hold only; another flag on the same
    annotator still holds.
    """
    annotators: dict[str, str] = {}
    events: dict[str, str] = {}
    for flag in flags:
        if flag.status == "keep":
            continue
        if flag.kind in (AGREEMENT, FLOODING):
            annotators[flag.subject] = FLAGGED_ANNOTATOR
        else:
            events |= dict.fromkeys(flag.evidence.get("events", ()), FLAGGED_EVENT)
    return Holds(annotators, events)


def findings(
    scope: str,
    annotators: AnnotatorReport,
    floods: Iterable[Flood] = (),
    triggers: TriggerReport | None = None,
    sent: Mapping[str, Sequence[str]] | None = None,
) -> list[NewFlag]:
    """What the checks of one set of votes found, as flags to raise.

    Args:
        scope: What was checked, for example the id of a batch; it is part of the evidence.
        annotators: Whoever is `flagged` in it.
        floods: From `annotator_checks.flooding`.
        triggers: Words that go with disagreement.
        sent: Event ids by source, for floods of a source.
    """
    raised = []
    for result in annotators.annotators:
        if result.status == "flagged":
            evidence = {
                "scope": scope,
                "votes": result.compared,
                "agreement": result.agreement,
                "others": result.others,
                "message": result.message,
            }
            raised.append(NewFlag(AGREEMENT, result.annotator, evidence))
    for flood in floods:
        evidence = {
            "scope": scope,
            "votes": flood.events,
            "share": flood.share,
            "message": f"gave {flood.share:.0%} of {scope}",
        }
        if flood.what == "annotator":
            raised.append(NewFlag(FLOODING, flood.name, evidence))
        else:
            raised.append(
                NewFlag(
                    SOURCE,
                    flood.name,
                    evidence | {"events": sorted((sent or {}).get(flood.name, ()))},
                )
            )
    for word in triggers.words if triggers else ():
        message = (
            f"{word.disagreeing} of {word.events} votes on texts with this word are against the"
            f" others (p = {word.p:.1e})"
        )
        evidence = {
            "scope": scope,
            "word": word.word,
            "votes": word.events,
            "events": list(word.event_ids),
            "message": message,
        }
        raised.append(NewFlag(TRIGGER, word.word[:128], evidence))
    return raised


def new_flags(candidates: Iterable[NewFlag], flags: Collection[Flag]) -> list[NewFlag]:
    """The findings that a person has not seen yet.

    Left out are findings about an annotator who is held already, and about the agreement of an
    annotator whom somebody decided to keep, until there are twice the votes that the decision was
    made on. A finding about events is always raised: it holds other events.
    """
    held = holds(flags)
    kept: dict[str, int] = {}
    for flag in flags:
        if flag.kind == AGREEMENT and flag.status == "keep":
            kept[flag.subject] = max(kept.get(flag.subject, 0), int(flag.evidence.get("votes", 0)))
    return [
        flag
        for flag in candidates
        if not (flag.kind in (AGREEMENT, FLOODING) and flag.subject in held.annotators)
        and not (
            flag.kind == AGREEMENT
            and flag.subject in kept
            and flag.evidence["votes"] < 2 * kept[flag.subject]
        )
    ]


def raise_new(database: Database, candidates: Iterable[NewFlag], now: datetime) -> list[str]:
    """Raise what a person has not seen yet; returns it in words."""
    flags = Flags(database)
    raised = [
        flags.raise_flag(flag.kind, flag.subject, flag.evidence, now)
        for flag in new_flags(candidates, flags.all())
    ]
    return [
        f"{flag.id}: {flag.kind}: {flag.subject}: {flag.evidence.get('message', '')}"
        for flag in raised
    ]


def sent_by(database: Database, batch: str) -> dict[str, list[str]]:
    """Event ids of a batch by who sent them over HTTP (one source for each API key).

    Files are left out: an operator chose to import them, whatever share of a batch they are.
    """
    tables = database.tables
    arrivals = tables.events.join(
        tables.event_deliveries, tables.events.c.id == tables.event_deliveries.c.event_id
    )
    joined = arrivals.join(
        tables.deliveries, tables.event_deliveries.c.delivery_id == tables.deliveries.c.id
    )
    query = select(tables.deliveries.c.source, tables.events.c.id).select_from(joined)
    query = query.where(
        tables.events.c.batch_id == batch, tables.deliveries.c.way == "http"
    ).order_by(tables.events.c.id)
    sent: dict[str, list[str]] = {}
    with database.reading() as connection:
        for source, event in connection.execute(query):
            sent.setdefault(source, []).append(event)
    return sent


def digest(flags: Iterable[Flag]) -> str:
    """Digest of what is held: it changes exactly when a flag or a decision changes what may enter
    training."""
    held = holds(flags)
    return sha256(canonical_json([sorted(held.annotators), sorted(held.events)]))
