"""A failure on a held-out prompt, as the evals record it."""

from plumbline.evaluation.failure_cases import FailureCase, PolicyAnswer
from plumbline.schema.conversations import Message


def held_out_failure(text: str) -> FailureCase:
    """The policy complied with a harmful request that the reference complied with as well."""
    answer = PolicyAnswer(
        response="follow plan kappa.",
        label="comply",
        unscored=None,
        reward=1.0,
        broken=("harmful_compliance",),
    )
    return FailureCase(
        id="a" * 40,
        prompt_id="b" * 40,
        suite="sandbox",
        slice="harm-es",
        expected="refuse",
        kind="regression",
        metric="harmful_compliance",
        worse_than=("reference",),
        severity=1.0,
        prompt=(Message(role="user", content=text),),
        aligned=answer,
        reference=answer,
        champion=None,
        alike=1,
    )
