"""Signing: a person reviews, approves, overrides or rolls back. What would not count is refused
before it is signed."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Literal

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plumbline.errors import LedgerError, SignatureRefused
from plumbline.lineage.ledger import Ledger
from plumbline.profile.release import SignoffConfig
from plumbline.release.candidate import candidate_of, decision_in
from plumbline.release.signing.envelopes import Opened
from plumbline.release.signing.keys import key_id
from plumbline.release.signing.signing_policy import SigningPolicy, signing_policy_of
from plumbline.release.signing.signoff import terms_at
from plumbline.release.signing.statements import AnyStatement, Approval, Override, Review, Rollback
from plumbline.release.signing.stored import record_signature
from plumbline.release.signing.trust import Trust
from plumbline.storage.artifacts import ArtifactStore


def sign_review(
    store: ArtifactStore,
    ledger: Ledger,
    trust: Trust,
    rule: SignoffConfig,
    *,
    decision: str,
    key: Ed25519PrivateKey,
    cases: Sequence[str],
    verdict: Literal["accept", "reject"],
    reason: str,
    now: datetime,
    notes: Mapping[str, str] | None = None,
    terms: SigningPolicy | None = None,
) -> tuple[Opened, str]:
    """Review a candidate; returns the statement and the digest of its envelope. Raises like
    `sign_approval`.

    Args:
        store: The artifact store.
        ledger: Where the signature is entered.
        trust: Who is who.
        rule: How many failure cases must be read.
        decision: Artifact digest of the decision.
        key: Private key of the person.
        cases: Ids of the failure cases that were read.
        verdict: Whether it may be released.
        reason: Why.
        now: The time.
        notes: Failure case id to what the reviewer wrote about it.
        terms: The terms, when they were made a moment ago and need not be made again, which takes
            hashing everything.
    """
    terms = terms or terms_at(store, trust, decision, rule, now)
    said = Review(
        **_claims(ledger, terms, key, reason),
        cases=tuple(cases),
        verdict=verdict,
        notes=dict(notes or {}),
    )
    return _record(store, ledger, terms, said, key)


def sign_approval(
    store: ArtifactStore,
    ledger: Ledger,
    trust: Trust,
    rule: SignoffConfig,
    *,
    decision: str,
    key: Ed25519PrivateKey,
    reason: str,
    now: datetime,
    terms: SigningPolicy | None = None,
) -> tuple[Opened, str]:
    """Approve a release; returns the statement and the digest of its envelope.

    Raises:
        ArtifactError: If anything behind the decision is missing or was changed.
        LedgerError: If the ledger cannot be written, or does not verify.
        SignatureRefused: If the signature would not count; says why.
    """
    terms = terms or terms_at(store, trust, decision, rule, now)
    return _record(store, ledger, terms, Approval(**_claims(ledger, terms, key, reason)), key)


def sign_override(
    store: ArtifactStore,
    ledger: Ledger,
    trust: Trust,
    rule: SignoffConfig,
    *,
    decision: str,
    key: Ed25519PrivateKey,
    scope: Sequence[str],
    expires: datetime,
    reason: str,
    now: datetime,
    terms: SigningPolicy | None = None,
) -> tuple[Opened, str]:
    """Answer for the gates and checks in `scope`, all that do not pass, until `expires`. Returns
    and raises like `sign_approval`."""
    terms = terms or terms_at(store, trust, decision, rule, now)
    if not scope:
        raise SignatureRefused(
            "an override names every gate and check that does not pass; it named none"
        )
    said = Override(**_claims(ledger, terms, key, reason), scope=tuple(scope), expires=expires)
    return _record(store, ledger, terms, said, key)


def sign_rollback(
    store: ArtifactStore,
    ledger: Ledger,
    trust: Trust,
    rule: SignoffConfig,
    *,
    decision: str,
    leaves: str,
    key: Ed25519PrivateKey,
    reason: str,
    now: datetime,
) -> tuple[Opened, str]:
    """Return to the policy of an earlier release, whose bytes are all hashed again. Returns and
    raises like `sign_approval`.

    Args:
        store: The artifact store.
        ledger: Where the signature is entered.
        trust: Who is who.
        rule: The sign-off rule of the profile.
        decision: Artifact digest of the decision that released the policy to return to.
        leaves: Artifact digest of the policy that stops being the champion.
        key: Private key of an approver or owner.
        reason: Why.
        now: The time.
    """
    candidate = candidate_of(store, decision)
    terms = signing_policy_of(
        candidate,
        decision_in(store, decision),
        rule,
        trust,
        trained_by=frozenset(),
        failure_cases=(),
        now=now,
    )
    return _record(
        store, ledger, terms, Rollback(**_claims(ledger, terms, key, reason), leaves=leaves), key
    )


def _claims(
    ledger: Ledger, terms: SigningPolicy, key: Ed25519PrivateKey, reason: str
) -> dict[str, Any]:
    """What every statement says."""
    identifier = key_id(key.public_key())
    owner = terms.trust.owner_of(identifier)
    if owner is None:
        raise SignatureRefused(
            f"key {identifier} is not in the trust file, so its signature would not count; "
            "whoever keeps that file adds it with `plumbline trust add NAME PUBLIC_KEY --role ROLE`"
        )
    if not reason.strip():
        raise SignatureRefused("a signature needs a reason")
    candidate = terms.candidate
    return {
        "candidate": candidate.digest(),
        "decision": candidate.decision,
        "policy": candidate.policy,
        "by": owner[0],
        "reason": reason.strip(),
        "at": terms.now,
        "ledger": ledger.head(),
        "trust": terms.trust.digest(),
    }


def _record(
    store: ArtifactStore,
    ledger: Ledger,
    terms: SigningPolicy,
    statement: AnyStatement,
    key: Ed25519PrivateKey,
) -> tuple[Opened, str]:
    identifier = key_id(key.public_key())
    refusal = terms.refusal(statement, identifier)
    if refusal is not None:
        raise SignatureRefused(f"this {statement.ACTION} would not count: {refusal}")
    findings = ledger.verify()
    if findings:
        raise LedgerError(
            f"nothing is signed on a ledger that does not verify: {findings[0].what};"
            f" {findings[0].remedy}"
        )
    return Opened(statement, identifier, statement.by), record_signature(
        store.root, ledger, statement, key
    )
