"""The table of allowed and denied actions, made again from a rubric: which tool, when, and which
clause says so."""

from collections import Counter
from collections.abc import Iterable

from plumbline.errors import ConfigError
from plumbline.schema.held_out import EvalPrompt
from plumbline.schema.rubric import Rubric

RULE_FACT = "rule"
"""Fact of a case of the suite `agent-actions`: the row of the table that it tests."""


def action_table(rubric: Rubric, cases: Iterable[EvalPrompt] = ()) -> str:
    """Markdown with one row for each action of a rubric, by tool, allowed before denied; the same
    rubric gives the same text.

    Args:
        rubric: The rubric.
        cases: Held-out cases; each row says how many test it. None leaves the column out.

    Raises:
        ConfigError: If the rubric has no table, or a case tests a row that the table does not have.
    """
    if not rubric.actions:
        raise ConfigError(
            f"rubric {rubric.label} has no table of actions; add `actions` to it, or judge no"
            " agents under it"
        )
    tested = Counter(case.facts[RULE_FACT] for case in cases if RULE_FACT in case.facts)
    strangers = sorted(tested.keys() - {action.id for action in rubric.actions})
    if strangers:
        raise ConfigError(
            f"cases test the actions {', '.join(strangers)}, which rubric {rubric.label} does not"
            " have; correct the cases or the rubric"
        )
    columns = ["tool", "when", "verdict", "clause", "row", *(["cases"] if tested else [])]
    lines = [
        f"Actions under {rubric.label}; what no row allows is denied.",
        "",
        f"| {' | '.join(columns)} |",
        f"|{'---|' * len(columns)}",
    ]
    for action in sorted(
        rubric.actions, key=lambda action: (action.tool, action.verdict, action.id)
    ):
        verdict = "allowed" if action.verdict == "allow" else "denied"
        cells = [
            f"`{action.tool}`",
            action.condition.replace("|", "\\|"),
            verdict,
            action.clause,
            action.id,
        ]
        lines.append(f"| {' | '.join([*cells, *([str(tested[action.id])] if tested else [])])} |")
    return "\n".join(lines)
