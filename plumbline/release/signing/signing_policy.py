"""The signing policy, by which a signature counts: what is signed for, by which rule, and who may
not sign.

One function answers for signatures that are about to be made and for those that are found later, so
that nobody signs in vain and nothing counts that could not have been signed.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from plumbline.profile.release import SignoffConfig
from plumbline.release.candidate import Candidate
from plumbline.release.decision import Decision
from plumbline.release.signing.statements import Action, AnyStatement, Override, Review, Rollback
from plumbline.release.signing.trust import Role, Trust, folded
from plumbline.schema.kinds import ALIGNED_POLICY

NEEDED_ROLES: Final[dict[Action, tuple[Role, ...]]] = {
    "review": ("reviewer",),
    "approval": ("approver",),
    "override": ("owner",),
    "rollback": ("approver", "owner"),
}
"""Roles of which the signer of a statement must have one."""
CLOCK_TOLERANCE: Final = timedelta(minutes=5)
"""How far the clock of a person may be ahead of the clock that the sign-off is concluded by."""


@dataclass(frozen=True)
class SigningPolicy:
    """What every signature for one candidate is held against."""

    candidate: Candidate
    decision: Decision
    rule: SignoffConfig
    trust: Trust
    trained_by: frozenset[str]
    """Names of those who trained the policy or a model that it was made from."""
    failure_cases: tuple[str, ...]
    """Ids of the failure cases, the worst first."""
    now: datetime

    def required_cases(self) -> tuple[str, ...]:
        """Failure cases that every accepting reviewer must have read."""
        return self.failure_cases[: self.rule.samples]

    def refusal(self, statement: AnyStatement, key: str) -> str | None:
        """Why a statement that is signed with a key does not count, or None.

        A rejecting review counts from every reviewer: also from one who trained the policy, who
        read few cases, or whose rejection is old. It takes an accepting review of the same person
        to lift it. A rollback returns to what was signed for when it was released, so that neither
        the trainer nor old age keeps anybody from it.
        """
        owner = self.trust.owner_of(key)
        if owner is None:
            return f"it is signed with key {key}, which the trust file does not name"
        name, person = owner
        if statement.by != name:
            return f"it says that {statement.by} signed, but the key belongs to {name}"
        if (statement.candidate, statement.decision, statement.policy) != (
            self.candidate.digest(),
            self.candidate.decision,
            self.candidate.policy,
        ):
            return (
                f"it is about another candidate ({statement.candidate}): something upstream"
                " changed, so it has to be signed again"
            )
        roles = NEEDED_ROLES[statement.ACTION]
        if not set(roles) & set(person.roles):
            return f"{name} is no {' or '.join(roles)} (roles: {', '.join(person.roles)})"
        if statement.at > self.now + CLOCK_TOLERANCE:
            return (
                f"it is dated {statement.at:%Y-%m-%d %H:%M} UTC, which has not come yet; the clock"
                " of the signer or of this machine is wrong"
            )
        if isinstance(statement, Rollback) or (
            isinstance(statement, Review) and statement.verdict == "reject"
        ):
            return None
        trained = {folded(trainer) for trainer in self.trained_by}
        if trained & {folded(alias) for alias in (name, *person.accounts)}:
            return (
                f"{name} trained this policy or a model behind it, and nobody signs for an own"
                " model"
            )
        ends = statement.at + timedelta(days=self.rule.valid_days)
        if self.now > ends:
            return (
                f"it is from {statement.at:%Y-%m-%d}, and signatures count for"
                f" {self.rule.valid_days:g} days"
            )
        if isinstance(statement, Review):
            return self._unread(statement)
        return self._override_refusal(statement) if isinstance(statement, Override) else None

    def _unread(self, review: Review) -> str | None:
        foreign = sorted({*review.cases, *review.notes} - set(self.failure_cases))
        if foreign:
            return (
                "it names failure cases that this candidate does not have:"
                f" {', '.join(foreign[:3])}"
            )
        unread = [case for case in self.required_cases() if case not in set(review.cases)]
        return (
            f"{len(unread)} of the {len(self.required_cases())} failure cases that must be read"
            f" were not, the worst is {unread[0]}"
            if unread
            else None
        )

    def _override_refusal(self, override: Override) -> str | None:
        if self.decision.verdict == "release":
            return "the decision is `release`, so there is nothing to override"
        named, open_ = set(override.scope), set(open_points(self.decision))
        if not open_:
            return (
                "no gate was judged, so there is nothing that an override could name; give the"
                " profile gates"
            )
        if open_ - named:
            return (
                f"its scope leaves out {', '.join(sorted(open_ - named))}, which"
                f" {'do' if len(open_ - named) > 1 else 'does'} not pass either"
            )
        if named - open_:
            return (
                f"its scope names {', '.join(sorted(named - open_))}, which"
                f" {'are' if len(named - open_) > 1 else 'is'} not open in this decision"
            )
        if override.expires <= override.at:
            return "it ends before it begins"
        return (
            f"it ended {override.expires:%Y-%m-%d %H:%M} UTC"
            if self.now >= override.expires
            else None
        )


def open_points(decision: Decision) -> tuple[str, ...]:
    """Ids of the gates and names of the checks of a decision that do not pass: what an override
    must name."""
    gates = [verdict.gate.id for verdict in decision.gates if verdict.verdict != "pass"]
    checks = [check.name for check in decision.checks if check.verdict != "pass"]
    return tuple(dict.fromkeys([*gates, *checks]))


def signing_policy_of(
    candidate: Candidate,
    decision: Decision,
    rule: SignoffConfig,
    trust: Trust,
    *,
    trained_by: frozenset[str],
    failure_cases: Sequence[str],
    now: datetime,
) -> SigningPolicy:
    """The signing policy of a candidate.

    Raises:
        ValueError: If the decision is not the one of the candidate, or the time has no time zone.
    """
    if (decision.verdict, decision.inputs.get(ALIGNED_POLICY), decision.profile) != (
        candidate.verdict,
        candidate.policy,
        candidate.profile,
    ):
        raise ValueError("the decision is not the one that the candidate names")
    if now.tzinfo is None:
        raise ValueError("the time needs a time zone")
    return SigningPolicy(candidate, decision, rule, trust, trained_by, tuple(failure_cases), now)
