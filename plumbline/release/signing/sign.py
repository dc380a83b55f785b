"""Signing: a person reviews, approves, overrides or rolls back. What would not count is refused
before it is signed."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
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
from plumbline.release.signing.signoff import signing_policy_at
from plumbline.release.signing.statements import AnyStatement, Approval, Override, Review, Rollback
from plumbline.release.signing.stored import record_signature
from plumbline.release.signing.trust import Trust
from plumbline.storage.artifacts import ArtifactStore


@dataclass(frozen=True)
class SigningRequest:
    """Who signs for which decision, and where: the same for every statement."""

    store: ArtifactStore
    ledger: Ledger
    """Where the signature is entered."""
    trust: Trust
    rule: SignoffConfig
    decision: str
    """Artifact digest of the decision."""
    key: Ed25519PrivateKey
    reason: str
    now: datetime
    signing_policy: SigningPolicy | None = None
    """The signing policy, when it was made a moment ago and need not be made again, which takes
    hashing everything."""

    def current_policy(self) -> SigningPolicy:
        """The signing policy that the signature has to satisfy; raises like `sign_approval`."""
        return self.signing_policy or signing_policy_at(
            self.store, self.trust, self.decision, self.rule, self.now
        )


def sign_review(
    request: SigningRequest,
    *,
    cases: Sequence[str],
    verdict: Literal["accept", "reject"],
    notes: Mapping[str, str] | None = None,
) -> tuple[Opened, str]:
    """Review a candidate; returns the statement and the digest of its envelope. Raises like
    `sign_approval`.

    Args:
        request: Who signs for what.
        cases: Ids of the failure cases that were read.
        verdict: Whether it may be released.
        notes: Failure case id to what the reviewer wrote about it.
    """
    signing_policy = request.current_policy()
    review = Review(
        **_claims(request, signing_policy),
        cases=tuple(cases),
        verdict=verdict,
        notes=dict(notes or {}),
    )
    return _record(request, signing_policy, review)


def sign_approval(request: SigningRequest) -> tuple[Opened, str]:
    """Approve a release; returns the statement and the digest of its envelope.

    Raises:
        ArtifactError: If anything behind the decision is missing or was changed.
        LedgerError: If the ledger cannot be written, or does not verify.
        SignatureRefused: If the signature would not count; says why.
    """
    signing_policy = request.current_policy()
    return _record(request, signing_policy, Approval(**_claims(request, signing_policy)))


def sign_override(
    request: SigningRequest, *, scope: Sequence[str], expires: datetime
) -> tuple[Opened, str]:
    """Answer for the gates and checks in `scope`, all that do not pass, until `expires`. Returns
    and raises like `sign_approval`."""
    signing_policy = request.current_policy()
    if not scope:
        raise SignatureRefused(
            "an override names every gate and check that does not pass; it named none"
        )
    claims = _claims(request, signing_policy)
    override = Override(**claims, scope=tuple(scope), expires=expires)
    return _record(request, signing_policy, override)


def sign_rollback(request: SigningRequest, *, leaves: str) -> tuple[Opened, str]:
    """Return to the policy of an earlier release, whose bytes are all hashed again. Returns and
    raises like `sign_approval`.

    Args:
        request: Its decision released the policy to return to; its key is one of an approver or
            owner.
        leaves: Artifact digest of the policy that stops being the champion.
    """
    signing_policy = signing_policy_of(
        candidate_of(request.store, request.decision),
        decision_in(request.store, request.decision),
        request.rule,
        request.trust,
        trained_by=frozenset(),
        failure_cases=(),
        now=request.now,
    )
    rollback = Rollback(**_claims(request, signing_policy), leaves=leaves)
    return _record(request, signing_policy, rollback)


def _claims(request: SigningRequest, signing_policy: SigningPolicy) -> dict[str, Any]:
    """What every statement says."""
    identifier = key_id(request.key.public_key())
    owner = signing_policy.trust.owner_of(identifier)
    if owner is None:
        raise SignatureRefused(
            f"key {identifier} is not in the trust file, so its signature would not count; "
            "whoever keeps that file adds it with `plumbline release trust add NAME PUBLIC_KEY"
            " --role ROLE`"
        )
    if not request.reason.strip():
        raise SignatureRefused("a signature needs a reason")
    candidate = signing_policy.candidate
    return {
        "candidate": candidate.digest(),
        "decision": candidate.decision,
        "policy": candidate.policy,
        "by": owner[0],
        "reason": request.reason.strip(),
        "at": signing_policy.now,
        "ledger": request.ledger.head(),
        "trust": signing_policy.trust.digest(),
    }


def _record(
    request: SigningRequest, signing_policy: SigningPolicy, statement: AnyStatement
) -> tuple[Opened, str]:
    identifier = key_id(request.key.public_key())
    refusal = signing_policy.refusal(statement, identifier)
    if refusal is not None:
        raise SignatureRefused(f"this {statement.ACTION} would not count: {refusal}")
    findings = request.ledger.verify()
    if findings:
        raise LedgerError(
            f"nothing is signed on a ledger that does not verify: {findings[0].what};"
            f" {findings[0].remedy}"
        )
    return Opened(statement, identifier, statement.by), record_signature(
        request.store.root, request.ledger, statement, request.key
    )
