"""The ledger as a witness of releases: whether a promotion is recorded, and whether the signatures
it rests on are still there and unchanged."""

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
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout

WITHDRAW = (
    "find out who released it: no record says that it was decided and signed; roll back to a"
    " release that is recorded"
)


def ledger_witness(layout: HomeLayout) -> Witness:
    """Asks the ledger about every release; it confirms the promotion that the release names, and
    the signatures under it."""
    ledger, store = Ledger(layout.ledger), ArtifactStore(layout.store)
    said: set[str] = set()

    def confirm(production: MaterializationRecord) -> list[Finding]:
        if production.kind != "release":
            return []
        try:
            found = [*ledger.verify(), *_findings(store, ledger, layout.trust, production)]
        except (LedgerError, SignatureRefused) as error:
            found = [
                _finding(
                    production,
                    str(error),
                    "a ledger and a trust file that can be read",
                    None,
                    RESTORE,
                )
            ]
        # a release that was made in several runs has several productions, and the chain is one:
        # nothing is said twice
        new = [finding for finding in found if finding.model_dump_json() not in said]
        said.update(finding.model_dump_json() for finding in new)
        return new

    return confirm


def _findings(
    store: ArtifactStore, ledger: Ledger, trust: Path, production: MaterializationRecord
) -> list[Finding]:
    from plumbline.release.signing.trust import load_trust

    path = store.root / "trees" / production.data_version.removeprefix("sha256:") / "release.json"
    try:
        release: Any = json.loads(path.read_bytes())
        claimed = Promotion.model_validate_json(json.dumps(release["promotion"]))
        envelopes = [str(one["envelope"]) for one in release["signatures"]]
    except FileNotFoundError:
        return []  # a missing file is a finding about the bytes already
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        return [
            _finding(
                production,
                f"{path}: names no promotion and signatures: {error}",
                "a release of this version",
                None,
                WITHDRAW,
            )
        ]
    entry = ledger.find(KIND, f"{claimed.profile}/{claimed.number:06d}")
    recorded = None if entry is None else Promotion.of(entry)
    found = []
    if recorded != claimed:
        found.append(
            _finding(
                production,
                "the ledger records no such promotion",
                claimed.digest(),
                None if recorded is None else recorded.digest(),
                WITHDRAW,
            )
        )
    if not envelopes:
        found.append(
            _finding(
                production,
                "the release rests on no signature",
                "at least one review and one approval",
                None,
                WITHDRAW,
            )
        )
    findings, _ = signature_findings(store, ledger, load_trust(trust), claimed.decision, envelopes)
    return [*found, *findings]


def _finding(
    production: MaterializationRecord, what: str, expected: str, found: str | None, remedy: str
) -> Finding:
    return Finding(
        artifact=production.artifact, what=what, expected=expected, found=found, remedy=remedy
    )
