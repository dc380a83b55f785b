"""The ledger as a cross-check of releases: whether a promotion is recorded, and whether the
signatures it rests on are still there and unchanged."""

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from plumbline.audit.signatures import signature_findings
from plumbline.errors import LedgerError, SignatureRefused
from plumbline.lineage.findings import RESTORE, Finding, Witness
from plumbline.lineage.ledger import Ledger
from plumbline.lineage.materializations import MaterializationRecord
from plumbline.release.promotion import KIND, Promotion
from plumbline.schema.kinds import RELEASE_FILE
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout

WITHDRAW = (
    "find out who released it: no record says that it was decided and signed; roll back to a"
    " release that is recorded"
)


def cross_check_ledger(layout: HomeLayout) -> Witness:
    """Asks the ledger about every release; it confirms the promotion that the release names, and
    the signatures under it."""
    ledger, store = Ledger(layout.ledger), ArtifactStore(layout.store)
    reported: set[str] = set()

    def confirm(record: MaterializationRecord) -> list[Finding]:
        if record.kind != "release":
            return []
        try:
            findings = [*ledger.verify(), *_findings(store, ledger, layout.trust, record)]
        except (LedgerError, SignatureRefused) as error:
            findings = [
                _finding(
                    record,
                    str(error),
                    "a ledger and a trust file that can be read",
                    None,
                    RESTORE,
                )
            ]
        # a release that was made in several runs has several materialization records,
        # and the chain is one: nothing is said twice
        new = [finding for finding in findings if finding.model_dump_json() not in reported]
        reported.update(finding.model_dump_json() for finding in new)
        return new

    return confirm


def _findings(
    store: ArtifactStore, ledger: Ledger, trust: Path, record: MaterializationRecord
) -> list[Finding]:
    from plumbline.release.signing.trust import load_trust

    path = store.root / "trees" / record.data_version.removeprefix("sha256:") / RELEASE_FILE
    try:
        release: Any = json.loads(path.read_bytes())
        claimed = Promotion.model_validate_json(json.dumps(release["promotion"]))
        envelopes = [str(signature["envelope"]) for signature in release["signatures"]]
    except FileNotFoundError:
        return []  # a missing file is a finding about the bytes already
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        return [
            _finding(
                record,
                f"{path}: names no promotion and signatures: {error}",
                "a release of this version",
                None,
                WITHDRAW,
            )
        ]
    entry = ledger.find(KIND, f"{claimed.profile}/{claimed.number:06d}")
    recorded = None if entry is None else Promotion.of(entry)
    findings = []
    if recorded != claimed:
        findings.append(
            _finding(
                record,
                "the ledger records no such promotion",
                claimed.digest(),
                None if recorded is None else recorded.digest(),
                WITHDRAW,
            )
        )
    if not envelopes:
        findings.append(
            _finding(
                record,
                "the release rests on no signature",
                "at least one review and one approval",
                None,
                WITHDRAW,
            )
        )
    unsigned, _ = signature_findings(store, ledger, load_trust(trust), claimed.decision, envelopes)
    return [*findings, *unsigned]


def _finding(
    record: MaterializationRecord, what: str, expected: str, found: str | None, remedy: str
) -> Finding:
    return Finding(
        artifact=record.artifact, what=what, expected=expected, found=found, remedy=remedy
    )
