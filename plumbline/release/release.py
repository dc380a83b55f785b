"""The release of a candidate: what its signatures allow is recorded as a promotion."""

from dataclasses import dataclass
from datetime import datetime
from pathlib import Path
from typing import Any, Literal

from plumbline.lineage.consistency import require_triple
from plumbline.lineage.ledger import Ledger
from plumbline.records import canonical_json
from plumbline.release.promotion import Promotion, current_champion, promote
from plumbline.release.signing.signoff import Signoff
from plumbline.schema.kinds import ALIGNED_POLICY, RELEASE_DECISION, RELEASE_FILE, RELEASED_POLICY
from plumbline.storage.artifacts import ArtifactStore


@dataclass(frozen=True)
class ReleaseInputs:
    """What is released, each by digest, and who signed for it."""

    profile: str
    recipe: str
    policy: str
    decision: str
    rubric: str
    signoff: Signoff
    released_by: Literal["gates", "override"]


@dataclass(frozen=True)
class Release:
    """A candidate that became the champion of its profile."""

    inputs: ReleaseInputs
    promotion: Promotion
    before: Promotion | None
    """What made the champion before it; None for a first release."""

    @property
    def people(self) -> list[str]:
        """Everybody who signed, by name."""
        return sorted(self.inputs.signoff.people)

    def overridden(self) -> dict[str, Any]:
        """What was overridden, by whom, why and until when; empty where the gates passed."""
        if self.inputs.released_by != "override":
            return {}
        return {
            "override": [
                {
                    "by": override.by,
                    "scope": list(override.scope),
                    "reason": override.reason,
                    "expires": str(override.expires),
                }
                for override in self.inputs.signoff.overrides
            ]
        }

    def facts(self, registered_model: str) -> dict[str, Any]:
        """As the manifest of the release says it."""
        return {
            "recipe": self.inputs.recipe,
            "registered_model": registered_model,
            "released_by": self.inputs.released_by,
            "promotion": self.promotion.number,
            "signed_by": self.people,
            **self.overridden(),
        }

    def write(self, folder: Path, registered_model: str) -> None:
        """Write the record of the release, with every signature that counted."""
        signed = self.inputs.signoff
        record = {
            "policy": self.inputs.policy,
            "decision": self.inputs.decision,
            "recipe": self.inputs.recipe,
            "registered_model": registered_model,
            "promotion": self.promotion.model_dump(mode="json"),
            "signatures": [
                signature.model_dump(mode="json")
                for signature in (*signed.reviews, *signed.approvals, *signed.overrides)
            ],
            "trust": signed.trust,
        }
        (folder / RELEASE_FILE).write_bytes(canonical_json(record))


def release_candidate(store: ArtifactStore, ledger: Ledger, inputs: ReleaseInputs) -> Release:
    """Make a signed candidate the champion of its profile, in the ledger.

    Raises:
        GateRefused: If policy, decision and rubric do not belong together.
        PromotionRefused: If the ledger holds another promotion of this decision.
    """
    triple = {
        ALIGNED_POLICY: inputs.policy,
        RELEASE_DECISION: inputs.decision,
        "rubric": inputs.rubric,
    }
    require_triple(store, triple, RELEASED_POLICY)
    signed, before = inputs.signoff, current_champion(ledger, inputs.profile)
    promotion = promote(
        ledger,
        inputs.profile,
        policy=inputs.policy,
        decision=inputs.decision,
        recipe=inputs.recipe,
        released_by=inputs.released_by,
        by=tuple(sorted(signed.people)),
        reason="; ".join(sig.reason for sig in (*signed.approvals, *signed.overrides)),
    )
    return Release(inputs, promotion, before)


def override_ended(ledger: Ledger, champion: Promotion, now: datetime) -> str | None:
    """That the override by which the champion was released is over, in words; None where there is
    none or one still holds."""
    if champion.released_by != "override":
        return None
    signed = [
        entry.body
        for entry in ledger.entries("override")
        if entry.body["decision"] == champion.decision
    ]
    newest = max((datetime.fromisoformat(body["expires"]) for body in signed), default=None)
    if newest is not None and newest > now:
        return None
    over = "is not in the ledger" if newest is None else f"ended on {newest:%Y-%m-%d}"
    return (
        f"the champion was released by an override, which {over}: release a candidate that passes"
        " its gates, or roll back (`plumbline release rollback`)"
    )
