"""The check `clauses`: every clause of the rubric has a gate on the metric that would show its
regression.

A clause without such a gate could be broken by any release and nobody would be stopped: the rubric
would promise what nothing holds.
"""

from collections.abc import Sequence
from typing import Final

from plumbline.profile.release import Gate
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.metrics import METRICS
from plumbline.schema.rubric import Rubric

CLAUSES: Final = "clauses"
_FALLS: Final = {"lower": "at_most", "higher": "at_least"}


def uncovered_clauses(rubric: Rubric, gates: Sequence[Gate]) -> CheckVerdict:
    """Whether a gate stands behind every clause.

    A gate counts when it holds the clause's regression metric on the side on which the metric would
    become worse; on a metric that is better in neither direction, either side counts. An uncovered
    clause is `inconclusive`, which holds a release: nothing was found to be bad, and nothing was
    looked at.

    Args:
        rubric: The rubric under which the policy was trained.
        gates: The gates of the profile.
    """
    uncovered = []
    for clause in rubric.clauses:
        metric = METRICS.get(clause.regression_metric)
        if metric is None:
            uncovered.append(
                f"'{clause.id}' names the metric '{clause.regression_metric}', which no eval"
                " report has"
            )
        elif not any(
            gate.metric == clause.regression_metric
            and gate.direction == _FALLS.get(metric.better, gate.direction)
            for gate in gates
        ):
            side = f" with direction {_FALLS[metric.better]}" if metric.better in _FALLS else ""
            uncovered.append(f"'{clause.id}' has no gate on '{clause.regression_metric}'{side}")
    if uncovered:
        return CheckVerdict(
            name=CLAUSES,
            verdict="inconclusive",
            explanation=(
                f"{len(uncovered)} of {len(rubric.clauses)} clauses of {rubric.label} could be"
                f" broken without a gate noticing: {'; '.join(uncovered)}"
            ),
            remedy=(
                "add the gate to the profile, with a scorer that measures its metric, or take the"
                " clause out of the rubric"
            ),
        )
    names = ", ".join(f"{clause.id} by {clause.regression_metric}" for clause in rubric.clauses)
    return CheckVerdict(
        name=CLAUSES,
        verdict="pass",
        explanation=f"all {len(rubric.clauses)} clauses of {rubric.label} have a gate: {names}",
    )
