"""The sign-off: whether the people whom the rule asks for reviewed and approved exactly this
candidate.

It is concluded anew each time from the signatures in the store, the ledger, the trust file and the
clock; nothing remembers an earlier answer. A signature that does not count is listed with the
reason. A gap in the evidence (a signature that was removed, a ledger that does not verify) keeps
the sign-off from being complete until it is repaired.
"""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Literal

from pydantic import AwareDatetime, Field

from plumbline.errors import SignatureRefused
from plumbline.lineage.ledger import GENESIS, Ledger, LedgerEntry
from plumbline.profile.release import SignoffConfig
from plumbline.records import Record
from plumbline.release.candidate import (
    Candidate,
    candidate_of,
    failure_cases_of,
    require_evidence,
    trained_by,
)
from plumbline.release.signing.envelopes import Opened, open_envelope
from plumbline.release.signing.signing_policy import SigningPolicy, open_points, signing_policy_of
from plumbline.release.signing.statements import Action, Override, Review
from plumbline.release.signing.stored import StoredSignature, find_signatures
from plumbline.release.signing.trust import Trust
from plumbline.schema.identifiers import Digest
from plumbline.storage.artifacts import ArtifactStore


class Signature(Record):
    """One signature that counts."""

    envelope: Digest = Field(description="digest of the envelope in the store")
    sequence: int = Field(ge=1, description="place in the ledger")
    action: Action
    by: str
    key: Digest
    at: AwareDatetime
    reason: str
    verdict: Literal["accept", "reject"] | None = Field(default=None, description="of a review")
    cases: tuple[str, ...] = Field(default=(), description="failure cases that a reviewer read")
    notes: dict[str, str] = Field(
        default_factory=dict, description="failure case to what the reviewer wrote about it"
    )
    scope: tuple[str, ...] = Field(
        default=(), description="gates and checks that an override names"
    )
    expires: AwareDatetime | None = Field(default=None, description="when an override ends")


class RefusedSignature(Record):
    """One signature that does not count."""

    envelope: str
    action: Action | None = Field(description="null when the envelope cannot be read")
    by: str | None = Field(
        description="who says to have signed; null when the envelope cannot be read"
    )
    reason: str


class Signoff(Record):
    """What is signed for a candidate, and what is still missing."""

    candidate: Digest
    decision: Digest
    complete: bool
    released_by: Literal["gates", "override"] | None = Field(
        description="what lets a complete candidate through; null while it is not complete"
    )
    missing: tuple[str, ...] = Field(
        description="what still has to happen, in words; empty when complete"
    )
    reviews: tuple[Signature, ...] = Field(
        description="the newest review of each person, accepting or rejecting"
    )
    approvals: tuple[Signature, ...]
    overrides: tuple[Signature, ...]
    refused: tuple[RefusedSignature, ...]
    trust: Digest = Field(description="digest of the trust file")
    ledger_head: Digest
    at: AwareDatetime

    @property
    def people(self) -> tuple[str, ...]:
        """Everybody whose signature counts, each once."""
        return tuple(
            dict.fromkeys(
                signature.by for signature in (*self.reviews, *self.approvals, *self.overrides)
            )
        )


def signoff_of(
    store: ArtifactStore,
    ledger: Ledger,
    trust: Trust,
    decision: str,
    rule: SignoffConfig,
    now: datetime,
) -> tuple[Candidate, Signoff]:
    """The candidate of a decision, every byte behind it hashed again, and its sign-off.

    Raises:
        ArtifactError: If anything behind the candidate is missing or was changed: no signature
            counts then.
        LedgerError: If the ledger cannot be read.
        SignatureRefused: If nobody could sign: the decision contradicts its manifest or its evals,
            its failure cases or who trained it are not recorded.
    """
    signing_policy = signing_policy_at(store, trust, decision, rule, now)
    return signing_policy.candidate, conclude(store, ledger, signing_policy)


def signing_policy_at(
    store: ArtifactStore, trust: Trust, decision: str, rule: SignoffConfig, now: datetime
) -> SigningPolicy:
    """The signing policy of a decision; raises like `signoff_of`."""
    candidate = candidate_of(store, decision)
    cases = tuple(case.id for case in failure_cases_of(store, decision))
    made = require_evidence(store, decision)
    return signing_policy_of(
        candidate,
        made,
        rule,
        trust,
        trained_by=trained_by(store, candidate),
        failure_cases=cases,
        now=now,
    )


def conclude(store: ArtifactStore, ledger: Ledger, signing_policy: SigningPolicy) -> Signoff:
    """The sign-off under this signing policy."""
    gaps = [
        f"the ledger does not verify: {finding.what}; {finding.remedy}"
        for finding in ledger.verify()
    ]
    entries = ledger.entries()
    # each signature holds the ledger's head at its time: a head that is missing here, or stands
    # behind the signature's own entry, shows that entries were cut off or written anew
    heads = {entry.hash: entry.sequence for entry in entries} | {GENESIS: 0}
    counted: dict[Action, dict[str, Signature]] = {
        "review": {},
        "approval": {},
        "override": {},
        "rollback": {},
    }
    refused: list[RefusedSignature] = []
    for stored in find_signatures(store.root, entries, signing_policy.candidate.decision):
        if stored.entry is not None and stored.entry.kind == "rollback":
            continue  # says something about the champion, nothing about this sign-off
        gap, outcome = _judge(stored, signing_policy, heads)
        gaps += [] if gap is None else [gap]
        if isinstance(outcome, Signature):
            counted[outcome.action][outcome.by] = (
                outcome  # of one person's signatures the newest counts
            )
        else:
            refused.append(outcome)
    reviews, approvals, overrides = (
        tuple(counted[action].values()) for action in ("review", "approval", "override")
    )
    missing = (*gaps, *_missing(signing_policy, reviews, approvals, overrides))
    return Signoff(
        candidate=signing_policy.candidate.digest(),
        decision=signing_policy.candidate.decision,
        complete=not missing,
        released_by=(
            None
            if missing
            else "gates"
            if signing_policy.decision.verdict == "release"
            else "override"
        ),
        missing=missing,
        reviews=reviews,
        approvals=approvals,
        overrides=overrides,
        refused=tuple(refused),
        trust=signing_policy.trust.digest(),
        ledger_head=entries[-1].hash if entries else GENESIS,
        at=signing_policy.now,
    )


def _judge(
    stored: StoredSignature, signing_policy: SigningPolicy, heads: Mapping[str, int]
) -> tuple[str | None, Signature | RefusedSignature]:
    """A gap in the evidence that this signature shows, if any, and the signature or why it does not
    count."""
    entry = stored.entry
    if stored.content is None:
        what = f"the file of {_named(stored.envelope, entry)} is missing or was changed"
        gap = (
            None
            if entry is None
            else (
                f"{what}, but the ledger knows it as entry {entry.sequence}: restore the store's"
                " folder `signatures` from a copy"
            )
        )
        return gap, _refused(stored, None, what)
    try:
        opened = open_envelope(stored.content, signing_policy.trust)
    except SignatureRefused as error:
        return None, _refused(stored, None, str(error))
    if entry is None:
        return None, _refused(
            stored,
            opened,
            "the ledger does not know it: a signature is made with `plumbline release review`,"
            " `approve` or"
            " `override`, not copied",
        )
    if entry.kind != opened.statement.ACTION:
        return None, _refused(
            stored,
            opened,
            f"the ledger has it as {entry.kind}, but it is signed as {opened.statement.ACTION}",
        )
    reason = signing_policy.refusal(opened.statement, opened.key)
    if reason is not None:
        return None, _refused(stored, opened, reason)
    place = heads.get(opened.statement.ledger)
    if place is None or place >= entry.sequence:
        gap = (
            f"{_named(stored.envelope, entry)} was signed on a ledger with the head"
            f" {opened.statement.ledger}, which is not before it in this one: entries were cut off,"
            " or the ledger was written anew. Restore it from a copy"
        )
        return gap, _refused(stored, opened, "the ledger that it was signed on is not this one")
    return None, _signature(stored.envelope, entry, opened)


def _signature(envelope: str, entry: LedgerEntry, opened: Opened) -> Signature:
    statement = opened.statement
    fields = {
        "envelope": envelope,
        "sequence": entry.sequence,
        "action": statement.ACTION,
        "by": opened.person,
        "key": opened.key,
        "at": statement.at,
        "reason": statement.reason,
    }
    if isinstance(statement, Review):
        fields |= {"verdict": statement.verdict, "cases": statement.cases, "notes": statement.notes}
    if isinstance(statement, Override):
        fields |= {"scope": statement.scope, "expires": statement.expires}
    return Signature.model_validate(fields)


def _refused(stored: StoredSignature, opened: Opened | None, reason: str) -> RefusedSignature:
    statement = None if opened is None else opened.statement
    return RefusedSignature(
        envelope=stored.envelope,
        action=None if statement is None else statement.ACTION,
        by=None if statement is None else statement.by,
        reason=reason,
    )


def _named(envelope: str, entry: LedgerEntry | None) -> str:
    who = "" if entry is None else f"{entry.kind} of {entry.body.get('by')}, "
    return (
        f"signature {envelope[7:19]}" if entry is None else f"the {who}signature {envelope[7:19]}"
    )


def _missing(
    signing_policy: SigningPolicy,
    reviews: Sequence[Signature],
    approvals: Sequence[Signature],
    overrides: Sequence[Signature],
) -> list[str]:
    """What people still have to do, in words."""
    rule, name = signing_policy.rule, signing_policy.candidate.decision[7:19]
    rejecting = [review for review in reviews if review.verdict == "reject"]
    missing = [
        f"{review.by} reviewed and rejected it: {review.reason}. Only an accepting review by"
        f" {review.by}"
        " lifts that; otherwise change the policy"
        for review in rejecting
    ]
    accepting = len(reviews) - len(rejecting)
    if accepting < rule.reviews:
        worst, cases = signing_policy.required_cases(), signing_policy.failure_cases
        read = f"read the {len(worst)} worst of {len(cases)} failure cases"
        missing.append(
            f"{_more(rule.reviews - accepting, 'accepting review')}: a reviewer who did not train"
            f" it has to {read} (`plumbline release review {name}`)"
        )
    approvers = {approval.by for approval in approvals}
    if signing_policy.decision.verdict != "release":
        if not overrides:
            points = ", ".join(open_points(signing_policy.decision)) or "no gate was judged"
            missing.append(
                f"the decision is {signing_policy.decision.verdict} ({points}): improve the policy"
                " and decide again. Somebody with the role owner can override it with `plumbline"
                f" release override {name}`, which stands out everywhere after"
            )
        else:
            # two people at least answer for a release against the gates
            approvers = max((approvers - {override.by} for override in overrides), key=len)
    if len(approvers) < rule.approvals:
        other = " by somebody else than who overrides" if overrides else ""
        missing.append(
            f"{_more(rule.approvals - len(approvers), 'approval')}{other}: an approver who did not"
            f" train it (`plumbline release approve {name}`)"
        )
    return missing


def _more(count: int, what: str) -> str:
    return f"{count} more {what}{'s' if count > 1 else ''}"
