"""Statements: what people sign, as in-toto Statements v1 about one candidate.

Every statement names the candidate, the decision and the policy as subjects, who says it, why and
when, the digest of the trust file and the head of the ledger at that time. The head makes each
signature a cross-check of the ledger: entries before it can no longer be cut off or rewritten
unseen.
"""

from typing import Any, ClassVar, Final, Literal

from pydantic import AwareDatetime, Field, ValidationError, field_validator

from plumbline.errors import SignatureRefused
from plumbline.records import Record, canonical_json, parse_json
from plumbline.schema.identifiers import Digest
from plumbline.schema.kinds import ALIGNED_POLICY, RELEASE_DECISION

STATEMENT_TYPE: Final = "https://in-toto.io/Statement/v1"

Action = Literal["review", "approval", "override", "rollback"]


class Statement(Record):
    """What every statement says."""

    ACTION: ClassVar[Action]

    candidate: Digest = Field(description="digest of the candidate")
    decision: Digest = Field(description="artifact digest of the decision")
    policy: Digest = Field(description="artifact digest of the policy")
    by: str = Field(min_length=1, description="who says it, as the trust file calls that person")
    reason: str = Field(min_length=1)
    at: AwareDatetime = Field(description="when, by the clock of the person")
    ledger: Digest = Field(description="head of the ledger before this signature")
    trust: Digest = Field(description="digest of the trust file by which the person could sign")

    @field_validator("by", "reason")
    @classmethod
    def _says_something(cls, text: str) -> str:
        if not text.strip():
            raise ValueError("is blank")
        return text


class Review(Statement):
    """Somebody read failure cases and found that the candidate may, or must not, be released."""

    ACTION: ClassVar[Action] = "review"

    cases: tuple[str, ...] = Field(description="ids of the failure cases that were read")
    verdict: Literal["accept", "reject"]
    notes: dict[str, str] = Field(description="failure case id to what the reviewer wrote about it")


class Approval(Statement):
    """Somebody approves the release."""

    ACTION: ClassVar[Action] = "approval"


class Override(Statement):
    """Somebody answers with a name for releasing although these gates and checks do not pass, until
    an end."""

    ACTION: ClassVar[Action] = "override"

    scope: tuple[str, ...] = Field(
        min_length=1, description="ids of the gates and names of the checks that do not pass"
    )
    expires: AwareDatetime = Field(description="when the override no longer counts")


class Rollback(Statement):
    """Somebody makes the policy of an earlier release, which the statement is about, the champion
    again."""

    ACTION: ClassVar[Action] = "rollback"

    leaves: Digest = Field(
        description="artifact digest of the policy that stops being the champion"
    )


AnyStatement = Review | Approval | Override | Rollback
STATEMENTS: Final[dict[str, type[Review] | type[Approval] | type[Override] | type[Rollback]]] = {
    "urn:plumbline:review:v1": Review,
    "urn:plumbline:approval:v1": Approval,
    "urn:plumbline:override:v1": Override,
    "urn:plumbline:rollback:v1": Rollback,
}
"""Predicate type of the in-toto Statement to the record of its predicate."""


def to_payload(statement: Statement) -> bytes:
    """The in-toto Statement as canonical JSON: these bytes are signed."""
    predicate_type = next(
        name for name, model in STATEMENTS.items() if isinstance(statement, model)
    )
    subjects = {
        "candidate": statement.candidate,
        RELEASE_DECISION: statement.decision,
        ALIGNED_POLICY: statement.policy,
    }
    return canonical_json(
        {
            "_type": STATEMENT_TYPE,
            "subject": [
                {"name": name, "digest": {"sha256": digest.removeprefix("sha256:")}}
                for name, digest in subjects.items()
            ],
            "predicateType": predicate_type,
            "predicate": statement.model_dump(mode="json"),
        }
    )


def from_payload(payload: bytes) -> AnyStatement:
    """The statement that signed bytes are.

    Raises:
        SignatureRefused: If they are no statement of this version in exactly the form that
            `to_payload` gives.
    """
    try:
        value: Any = parse_json(payload)
        model = STATEMENTS.get(str(value.get("predicateType"))) if isinstance(value, dict) else None
        if model is None:
            raise SignatureRefused(
                "it is no review, approval, override or rollback of this version"
            )
        statement = model.from_json(canonical_json(value.get("predicate")))
    except ValidationError as error:
        reasons = "; ".join(
            f"{'.'.join(map(str, problem['loc']))}: {problem['msg'].removeprefix('Value error, ')}"
            for problem in error.errors()
        )
        raise SignatureRefused(f"it is no valid statement: {reasons}") from error
    except (ValueError, TypeError) as error:
        raise SignatureRefused(f"it is no statement: {error}") from error
    # one statement has one form, so subjects that say otherwise than the predicate, or fields
    # nobody reads, cannot be smuggled in
    if to_payload(statement) != payload:
        raise SignatureRefused(
            "it is not in canonical form, or its subjects disagree with what it says"
        )
    return statement
