"""The release decision: a pure function of a report, the gates of a profile and the named checks.

Reject if any gate or check fails; hold if any is inconclusive or has no evidence, or if there are
no gates; release only if every gate and every check passes. Requiring all of them keeps the
probability of a false release at or below that of the weakest gate, so no correction for the number
of gates is needed; the probability of a false hold grows with it. There is no way around a gate
inside a decision: a person changes it in a reviewed commit, or signs an override, which leaves the
decision as it is.
"""

from collections import Counter
from collections.abc import Collection, Sequence
from typing import Literal, Self

from pydantic import Field, model_validator

from plumbline.profile.release import Gate
from plumbline.records import Record
from plumbline.release.gates import GateVerdict, judge_gate
from plumbline.schema.checks import CheckVerdict, Verdict
from plumbline.schema.eval_report import EvalReport

ReleaseOutcome = Literal["release", "hold", "reject"]


class Decision(Record):
    """Release, hold or reject, with the verdict of every gate and check; an outcome that does not
    follow from them is invalid."""

    verdict: ReleaseOutcome
    gates: tuple[GateVerdict, ...]
    checks: tuple[CheckVerdict, ...] = Field(
        default=(), description="named checks, in the order in which they were given"
    )
    report: str = Field(description="digest of the eval report")
    inputs: dict[str, str] = Field(
        description="role to digest of the artifacts that the decision is about"
    )
    recipe: str
    profile: str = Field(description="digest of the profile whose gates were applied")
    summary: str

    @model_validator(mode="after")
    def _verdict_follows(self) -> Self:
        expected = _outcome(self.gates, self.checks)
        if self.verdict != expected:
            raise ValueError(
                f"the decision says '{self.verdict}', but its gates and checks give '{expected}'"
            )
        repeated = sorted(
            name
            for name, count in Counter(
                [*(g.gate.id for g in self.gates), *(c.name for c in self.checks)]
            ).items()
            if count > 1
        )
        if repeated:
            raise ValueError(
                "gates and checks share one set of names, and these stand twice:"
                f" {', '.join(repeated)}"
            )
        return self


def decide(
    gates: Sequence[Gate],
    report: EvalReport,
    checks: Sequence[CheckVerdict] = (),
    *,
    inputs: dict[str, str],
    recipe: str,
    profile: str,
    required: Collection[str] = (),
) -> Decision:
    """Judge every gate and conclude.

    Args:
        gates: The gates of the profile.
        report: The eval report of this recipe's policy.
        checks: What the named checks found.
        inputs: Role to digest of the artifacts that the decision is about.
        recipe: Name of the recipe.
        profile: Digest of the profile.
        required: Names of the checks that must have been made; one that is not among `checks`
            counts as `error`.
    """
    verdicts = tuple(judge_gate(gate, report) for gate in gates)
    all_checks = (
        *checks,
        *(_missing(name) for name in sorted(set(required) - {check.name for check in checks})),
    )
    outcome = _outcome(verdicts, all_checks)
    return Decision(
        verdict=outcome,
        gates=verdicts,
        checks=all_checks,
        report=report.digest(),
        inputs=dict(inputs),
        recipe=recipe,
        profile=profile,
        summary=_summarize(outcome, verdicts, all_checks),
    )


def recompute(
    decision: Decision,
    report: EvalReport,
    gates: Sequence[Gate],
    checks: Sequence[CheckVerdict] | None = None,
) -> Decision:
    """The decision that this report, these gates and these checks give; equal to the recorded one
    unless something was changed.

    Args:
        decision: The recorded decision.
        report: The eval report as it is now.
        gates: The gates of the profile as they are now.
        checks: What the checks find now; None takes the recorded ones.
    """
    current = decision.checks if checks is None else checks
    # a check that was required and missing then is part of the record, and missing again unless it
    # is given now
    required = [check.name for check in decision.checks if check == _missing(check.name)]
    return decide(
        gates,
        report,
        current,
        inputs=decision.inputs,
        recipe=decision.recipe,
        profile=decision.profile,
        required=required,
    )


def _missing(name: str) -> CheckVerdict:
    return CheckVerdict(
        name=name,
        verdict="error",
        explanation=f"the check '{name}' was not made",
        remedy="materialize the asset that makes this check, then decide again",
    )


def _outcome(gates: Sequence[GateVerdict], checks: Sequence[CheckVerdict]) -> ReleaseOutcome:
    verdicts: set[Verdict] = {gate.verdict for gate in gates} | {check.verdict for check in checks}
    if "fail" in verdicts:
        return "reject"
    return "release" if gates and verdicts == {"pass"} else "hold"


def _summarize(
    outcome: ReleaseOutcome, gates: Sequence[GateVerdict], checks: Sequence[CheckVerdict]
) -> str:
    """One sentence with the counts, then a line for each gate and check that stands in the way, the
    worst first."""
    if not gates:
        return f"{outcome}: the profile has no gates, and without a gate nothing is released"
    worst_first = ("fail", "error", "inconclusive")
    results = [(gate.gate.id, gate.verdict, gate.explanation) for gate in gates]
    results += [
        (check.name, check.verdict, "; ".join(filter(None, (check.explanation, check.remedy))))
        for check in checks
    ]
    standing = sorted(
        (result for result in results if result[1] != "pass"),
        key=lambda result: worst_first.index(result[1]),
    )
    counts = f"{sum(gate.verdict == 'pass' for gate in gates)} of {len(gates)} gates"
    if checks:
        counts += f" and {sum(check.verdict == 'pass' for check in checks)} of {len(checks)} checks"
    return "\n".join(
        [
            f"{outcome}: {counts} pass",
            *(f"- {name}: {verdict}: {explanation}" for name, verdict, explanation in standing),
        ]
    )
