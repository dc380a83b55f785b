"""The release decision: a pure function of a report and the gates of a profile.

Reject if any gate fails; hold if any is inconclusive or has no evidence, or if there are no gates; release only if every gate passes.
Requiring all of them keeps the probability of a false release at or below that of the weakest gate, so no correction for the number of
gates is needed; the probability of a false hold grows with it. There is no way around a gate: a person changes it in a reviewed commit.
"""

from collections.abc import Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from plumbline.evaluation.report import EvalReport
from plumbline.records import Record
from plumbline.release.gates import Gate, GateVerdict, judge_gate

Outcome = Literal["release", "hold", "reject"]


class Decision(Record):
    """Release, hold or reject, with every gate's verdict; an outcome that does not follow from the gates is invalid."""

    verdict: Outcome
    gates: tuple[GateVerdict, ...]
    report: str = Field(description="digest of the eval report")
    inputs: dict[str, str] = Field(description="role to digest of the artifacts that the decision is about")
    recipe: str
    profile: str = Field(description="digest of the profile whose gates were applied")
    summary: str

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        expected = _outcome(self.gates)
        if self.verdict != expected:
            raise ValueError(f"the decision says '{self.verdict}', but its gates give '{expected}'")
        return self


def decide(gates: Sequence[Gate], report: EvalReport, *, inputs: dict[str, str], recipe: str, profile: str) -> Decision:
    """Judge every gate and conclude.

    Args:
        gates: The gates of the profile.
        report: The eval report of this recipe's policy.
        inputs: Role to digest of the artifacts that the decision is about.
        recipe: Name of the recipe.
        profile: Digest of the profile.
    """
    verdicts = tuple(judge_gate(gate, report) for gate in gates)
    outcome = _outcome(verdicts)
    return Decision(
        verdict=outcome, gates=verdicts, report=report.digest(), inputs=dict(inputs), recipe=recipe, profile=profile, summary=_summarize(outcome, verdicts)
    )


def recompute(decision: Decision, report: EvalReport, gates: Sequence[Gate]) -> Decision:
    """The decision that this report and these gates give; equal to the recorded one unless something was changed."""
    return decide(gates, report, inputs=decision.inputs, recipe=decision.recipe, profile=decision.profile)


def _outcome(gates: Sequence[GateVerdict]) -> Outcome:
    verdicts = {gate.verdict for gate in gates}
    if "fail" in verdicts:
        return "reject"
    return "release" if verdicts == {"pass"} else "hold"


def _summarize(outcome: Outcome, gates: Sequence[GateVerdict]) -> str:
    """One sentence with the counts, then a line for each gate that stands in the way."""
    if not gates:
        return "hold: the profile has no gates, and without a gate nothing is released"
    passed = sum(gate.verdict == "pass" for gate in gates)
    order = ("fail", "error", "inconclusive")
    open_gates = sorted((gate for gate in gates if gate.verdict != "pass"), key=lambda gate: order.index(gate.verdict))
    lines = [f"- {gate.gate.id}: {gate.verdict}: {gate.explanation}" for gate in open_gates]
    return "\n".join([f"{outcome}: {passed} of {len(gates)} gates pass", *lines])
