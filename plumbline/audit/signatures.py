"""Whether the signatures that a release rests on are still what they were: a question about bytes
and records, not about today's rules.

A release stays what it was when a signature grows old or a person leaves. So nothing here asks for
roles or expiry; `plumbline.release.signing.signoff` does, before something is released.
"""

from collections.abc import Iterable
from typing import TYPE_CHECKING

from plumbline.errors import SignatureRefused
from plumbline.lineage.findings import Finding
from plumbline.lineage.ledger import GENESIS, Ledger
from plumbline.storage.artifacts import ArtifactStore

if TYPE_CHECKING:
    from plumbline.release.signing.stored import StoredSignature
    from plumbline.release.signing.trust import Trust


REMEDY = (
    "restore the folder `signatures` of the store and the ledger from a copy; until then the"
    " release rests on nothing that can be shown"
)


def signature_findings(
    store: ArtifactStore, ledger: Ledger, trust: "Trust", decision: str, envelopes: Iterable[str]
) -> tuple[tuple[Finding, ...], tuple[str, ...]]:
    """What is wrong with the signatures that a release names, and what can no longer be checked.

    Args:
        store: The artifact store.
        ledger: The ledger of the home.
        trust: The trust file as it is now; a key that it no longer names cannot be checked, which
            is a note and no finding.
        decision: Artifact digest of the decision.
        envelopes: Digests of the envelopes that the release names.

    Raises:
        LedgerError: If the ledger cannot be read.
    """
    from plumbline.release.signing.stored import find_signatures

    entries = ledger.entries()
    heads = {entry.hash: entry.sequence for entry in entries} | {GENESIS: 0}
    known = {stored.envelope: stored for stored in find_signatures(store.root, entries, decision)}
    findings: list[Finding] = []
    notes: list[str] = []
    for envelope in envelopes:
        problem, note = _problem(known.get(envelope), decision, trust, heads)
        name = f"signature {envelope[7:19]}"
        findings += (
            []
            if problem is None
            else [
                Finding(
                    artifact=decision,
                    what=f"{name}: {problem}",
                    expected=envelope,
                    found=None,
                    remedy=REMEDY,
                )
            ]
        )
        notes += [] if note is None else [f"{name}: {note}"]
    return tuple(findings), tuple(notes)


def _problem(
    stored: "StoredSignature | None", decision: str, trust: "Trust", heads: dict[str, int]
) -> tuple[str | None, str | None]:
    """What is wrong with one signature, and what could not be checked."""
    from plumbline.release.signing.envelopes import open_envelope, read_unverified

    if stored is None or stored.content is None:
        return "its envelope is missing from the store, or was changed", None
    if stored.entry is None:
        return "the ledger does not know it", None
    try:
        statement, key = read_unverified(stored.content)
        if statement.decision != decision:
            return f"it is about decision {statement.decision}, not about this one", None
        if heads.get(statement.ledger, stored.entry.sequence) >= stored.entry.sequence:
            return (
                (
                    "the ledger that it was signed on is not this one: entries were cut off, or it"
                    " was written anew"
                ),
                None,
            )
        if trust.owner_of(key) is None:
            return (
                None,
                (
                    f"{statement.by} signed it with key {key}, which the trust file no longer"
                    " names; the signature cannot be verified any more"
                ),
            )
        open_envelope(stored.content, trust)
    except SignatureRefused as error:
        return str(error), None
    return None, None
