"""Named checks of a release: what a gate on one metric cannot say, in the same four verdicts."""

from typing import Final, Literal

from pydantic import Field

from plumbline.records import Record
from plumbline.schema.estimates import Estimate
from plumbline.schema.identifiers import Identifier, Text

Verdict = Literal["pass", "fail", "inconclusive", "error"]
PROXY_REWARD: Final = "proxy-reward"
REFUSAL_SHORTCUT: Final = "refusal-shortcut"
TEMPLATE_OVERFIT: Final = "template-overfit"
POLICY_AMBIGUITY: Final = "policy-ambiguity"
FEEDBACK_DRIFT: Final = "feedback-drift"
PRESSURES: Final = (
    PROXY_REWARD,
    REFUSAL_SHORTCUT,
    TEMPLATE_OVERFIT,
    POLICY_AMBIGUITY,
    FEEDBACK_DRIFT,
)
"""The five failure pressures, in the order in which they are shown."""
VAULT_LEAK: Final = "vault-leak"
EVAL_CHECKS: Final = (*PRESSURES, VAULT_LEAK)
"""The checks that the evals put a policy to; a decision needs the verdict of each."""
CHECKS_FILE = "checks.json"
"""File of a tree that holds what the named checks on it found."""


class CheckVerdict(Record):
    """What one named check found; like a gate, it lets a release through only with `pass`."""

    name: Identifier = Field(description="for example `refusal-shortcut`")
    verdict: Verdict
    explanation: Text = Field(description="what was found, with numbers")
    remedy: str = Field(default="", description="what to do next; empty when it passed")
    estimates: dict[str, Estimate] = Field(
        default_factory=dict, description="the numbers behind it, by name"
    )


class CheckReport(Record):
    """What the named checks on one artifact found: `CHECKS_FILE` of its tree."""

    checks: tuple[CheckVerdict, ...]
