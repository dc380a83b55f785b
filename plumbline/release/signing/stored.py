"""Where signatures are kept: one envelope to a file in the store, and one entry for each in the
ledger.

::

    <store>/signatures/<decision hex>/<envelope hex>.json

A signature counts when both are there. An entry without its file shows that somebody removed a
signature, which matters most for a rejection.
"""

import re
from pathlib import Path
from typing import NamedTuple

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from plumbline.lineage.ledger import Ledger, LedgerEntry
from plumbline.release.signing.envelopes import MAX_BYTES, envelope_digest, sign
from plumbline.release.signing.statements import STATEMENTS, Statement
from plumbline.storage.artifacts import write_atomically

ACTIONS = frozenset(model.ACTION for model in STATEMENTS.values())
"""What a statement can be, which is also the kind of its ledger entry."""


class StoredSignature(NamedTuple):
    """A signature for one decision, as the store and the ledger know it."""

    envelope: str
    """Digest of the envelope: the name of the file and the key of the entry."""
    content: bytes | None
    """None when the file is missing or its bytes do not have this digest."""
    entry: LedgerEntry | None
    """None when the ledger does not know it."""


def record_signature(
    store_root: Path, ledger: Ledger, statement: Statement, key: Ed25519PrivateKey
) -> str:
    """Sign a statement, store the envelope and enter it in the ledger; returns the digest of the
    envelope.

    The file is written first: a process that dies in between leaves an envelope that does not
    count, and signing again makes a new one.
    """
    envelope = sign(statement, key)
    digest = envelope_digest(envelope)
    write_atomically(
        _folder(store_root, statement.decision) / f"{digest.removeprefix('sha256:')}.json", envelope
    )
    body = {
        "decision": statement.decision,
        "candidate": statement.candidate,
        "by": statement.by,
        "at": statement.at.isoformat(),
        "trust": statement.trust,
    }
    told = statement.model_dump(mode="json", include={"verdict", "scope", "expires", "leaves"})
    ledger.append(statement.ACTION, digest, {**body, **told})
    return digest


def find_signatures(
    store_root: Path, entries: tuple[LedgerEntry, ...], decision: str
) -> tuple[StoredSignature, ...]:
    """Every signature for a decision that the store or the ledger knows: the entered ones in the
    order of the ledger, then the others.

    Args:
        store_root: Root of the artifact store.
        entries: All entries of the ledger.
        decision: Artifact digest of the decision.
    """
    files = {
        f"sha256:{path.stem}": path
        for path in sorted(_folder(store_root, decision).glob("[!.]*.json"))
    }
    entered = [
        entry
        for entry in entries
        if entry.kind in ACTIONS and entry.body.get("decision") == decision
    ]
    known = {entry.key for entry in entered}
    entered_signatures = [
        StoredSignature(entry.key, _content(files.get(entry.key), entry.key), entry)
        for entry in entered
    ]
    return (
        *entered_signatures,
        *(
            StoredSignature(digest, _content(path, digest), None)
            for digest, path in files.items()
            if digest not in known
        ),
    )


def _content(path: Path | None, digest: str) -> bytes | None:
    if path is None or path.is_symlink() or not path.is_file() or path.stat().st_size > MAX_BYTES:
        return None
    content = path.read_bytes()
    return content if envelope_digest(content) == digest else None


def _folder(store_root: Path, decision: str) -> Path:
    if not re.fullmatch(r"sha256:[0-9a-f]{64}", decision):
        raise ValueError(f"'{decision}' is not a digest")
    return store_root / "signatures" / decision.removeprefix("sha256:")
