"""Promotions: which policy of a profile is the champion, since when and by whom. The ledger is the
record; every registry follows it.

A promotion is one entry of the ledger, written before anything else is told: a process that dies
afterwards leaves a registry behind the record, and the next start brings it up to date. Nothing
points at a policy that the record does not name.
"""

from typing import Any, Final, Literal, Self

from pydantic import Field

from plumbline.errors import LedgerConflict, PromotionRefused
from plumbline.lineage.ledger import Ledger, LedgerEntry
from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, Text

KIND: Final = "promotion"


class Promotion(Record):
    """One change of the champion of a profile."""

    sequence: int = Field(ge=1, description="place in the ledger")
    number: int = Field(
        ge=1, description="promotions of this profile are counted from 1; a rollback is one too"
    )
    profile: Identifier
    action: Literal["promote", "rollback"]
    policy: Text = Field(description="artifact digest of the policy that became champion")
    decision: Text = Field(description="artifact digest of the decision that released it")
    recipe: Identifier
    released_by: Literal["gates", "override"] = Field(
        description="`override`: gates did not pass, and somebody signed for that"
    )
    by: tuple[Text, ...] = Field(min_length=1, description="people whose signatures it rests on")
    reason: Text

    @classmethod
    def of(cls, entry: LedgerEntry) -> Self:
        """The promotion that a ledger entry records."""
        return cls.model_validate({"sequence": entry.sequence, **_tuples(entry.body)})


def promotions(ledger: Ledger, profile: str) -> tuple[Promotion, ...]:
    """Every promotion of a profile, the first one first."""
    recorded = (Promotion.of(entry) for entry in ledger.entries(KIND))
    return tuple(promotion for promotion in recorded if promotion.profile == profile)


def current_champion(ledger: Ledger, profile: str) -> Promotion | None:
    """The newest promotion of a profile; None while nothing was released."""
    made = promotions(ledger, profile)
    return made[-1] if made else None


def promote(
    ledger: Ledger,
    profile: str,
    *,
    policy: str,
    decision: str,
    recipe: str,
    released_by: Literal["gates", "override"],
    by: tuple[str, ...],
    reason: str,
) -> Promotion:
    """Record that a decision's policy is the champion; recording the champion again changes
    nothing.

    Raises:
        PromotionRefused: If it was the champion before and is no longer: what was rolled back from,
            or followed by a better policy, returns by a rollback, which says who wants it and why.
            Also if another promotion was recorded at the same time.
    """
    champion = current_champion(ledger, profile)
    if champion is not None and champion.decision == decision:
        return champion
    earlier = next(
        (promotion for promotion in promotions(ledger, profile) if promotion.decision == decision),
        None,
    )
    if earlier is not None:
        short = decision.removeprefix("sha256:")[:12]
        raise PromotionRefused(
            f"decision {decision} was promoted as #{earlier.number} of '{profile}', and was rolled"
            f" back from or followed since; `plumbline release rollback {short}` returns to it"
        )
    body = {
        "action": "promote",
        "policy": policy,
        "decision": decision,
        "recipe": recipe,
        "released_by": released_by,
        "by": list(by),
        "reason": reason,
    }
    return _record(ledger, profile, champion, body)


def roll_back(
    ledger: Ledger, profile: str, decision: str, *, by: tuple[str, ...], reason: str
) -> Promotion:
    """Make an earlier champion the champion again.

    Args:
        ledger: The record.
        profile: Name of the profile.
        decision: Digest of the decision, or a unique start of its hex digits, of an earlier
            promotion.
        by: Who rolls back.
        reason: Why.

    Raises:
        PromotionRefused: If no promotion of this profile has that decision, it is the champion now,
            or another promotion was recorded meanwhile.
    """
    champion = current_champion(ledger, profile)
    target = find_release(ledger, profile, decision)
    if champion is not None and target.policy == champion.policy:
        raise PromotionRefused(
            f"policy {target.policy} of decision {target.decision} is the champion of '{profile}'"
            " already; there is nothing to roll back to"
        )
    body = {
        **target.model_dump(mode="json", include={"policy", "decision", "recipe", "released_by"}),
        "action": "rollback",
        "by": list(by),
        "reason": reason,
    }
    return _record(ledger, profile, champion, body)


def find_release(ledger: Ledger, profile: str, decision: str) -> Promotion:
    """The newest promotion that rests on a decision.

    Raises:
        PromotionRefused: If there is none, or the start of the digest fits several.
    """
    made = promotions(ledger, profile)
    prefix = decision.lower().removeprefix("sha256:")
    named = {
        promotion.decision: promotion
        for promotion in made
        if len(prefix) >= 6 and promotion.decision.removeprefix("sha256:").startswith(prefix)
    }
    if len(named) != 1:
        known = (
            ", ".join(
                dict.fromkeys(promotion.decision.removeprefix("sha256:")[:12] for promotion in made)
            )
            or "none"
        )
        raise PromotionRefused(
            f"'{decision}' names {len(named)} releases of '{profile}'; give at least 6 digits of"
            f" one of: {known}"
        )
    return next(iter(named.values()))


def _record(
    ledger: Ledger, profile: str, champion: Promotion | None, body: dict[str, Any]
) -> Promotion:
    number = 1 if champion is None else champion.number + 1
    try:
        entry = ledger.append(
            KIND, f"{profile}/{number:06d}", {"profile": profile, "number": number, **body}
        )
    except LedgerConflict as error:
        raise PromotionRefused(
            f"another promotion of '{profile}' was recorded at the same time; look at `plumbline"
            " release list`, then try again"
        ) from error
    return Promotion.of(entry)


def _tuples(body: Any) -> dict[str, Any]:
    """The body with tuples where JSON has lists."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in body.items()
    }
