"""The rule of a profile about who has to look at a candidate and sign before it is released."""

from pydantic import Field

from plumbline.records import Record


class SignoffRule(Record):
    """How many people review and approve a candidate; nobody signs for a policy that they
    trained."""

    reviews: int = Field(
        ge=1, description="people who looked at the failure cases and accepted them"
    )
    samples: int = Field(
        ge=1,
        description=(
            "failure cases that each reviewer must have seen, the worst first; all of them where"
            " there are fewer"
        ),
    )
    approvals: int = Field(ge=1, description="people who approved the release")
    valid_days: float = Field(gt=0, description="days after which a signature no longer counts")
