"""Registries, which people and services ask for the champion, and their reconciliation with the
ledger: where the two disagree, the ledger is right."""

from typing import Protocol

from pydantic import Field

from plumbline.lineage.ledger import Ledger
from plumbline.records import Record
from plumbline.release.promotion import Promotion, current_champion

DRIFT = "registry-drift"
"""Kind of the ledger entry about a registry that pointed elsewhere than the record."""


class Registry(Protocol):
    """Where a profile's champion can be looked up by name; anyone who reaches it may have changed
    it."""

    def champion(self, profile: str) -> str | None:
        """Artifact digest of the policy that the registry calls champion, or what it points at
        instead; None for no champion."""

    def follow(self, profile: str, promotion: Promotion | None) -> None:
        """Point at the policy of a promotion, registering it where it is missing; at nothing for
        None."""


class Reconciliation(Record):
    """What a registry said, and what it says now."""

    profile: str
    expected: str | None = Field(
        description="policy of the newest promotion in the ledger; null when nothing was promoted"
    )
    found: str | None = Field(description="what the registry pointed at before")

    @property
    def drifted(self) -> bool:
        """Whether the registry disagreed with the record."""
        return self.expected != self.found

    def sentence(self) -> str:
        """What was found and done, in one sentence."""
        if not self.drifted:
            return f"'{self.profile}': registry and ledger agree: " + (
                f"the champion is {self.expected}" if self.expected else "nothing was released"
            )
        found, expected = self.found or "no champion", self.expected or "no champion"
        return (
            f"'{self.profile}': the registry pointed at {found}, the ledger says {expected}; the"
            " registry was set back to the ledger"
        )


def reconcile(ledger: Ledger, registry: Registry, profile: str) -> Reconciliation:
    """Make a registry say what the ledger says; what it said before is recorded when it was
    something else.

    A champion that is missing in the registry is what an interrupted promotion leaves, and is
    completed. Another one was set by somebody.
    """
    champion = current_champion(ledger, profile)
    reconciliation = Reconciliation(
        profile=profile,
        expected=None if champion is None else champion.policy,
        found=registry.champion(profile),
    )
    if reconciliation.drifted:
        # recorded first: what somebody pointed the registry at is evidence, and the next line
        # removes it
        ledger.append(DRIFT, f"{profile}/{ledger.head()}", reconciliation.model_dump(mode="json"))
        registry.follow(profile, champion)
    return reconciliation
