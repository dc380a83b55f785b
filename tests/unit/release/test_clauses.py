"""Every clause of a rubric stands behind a gate, or the release waits."""

import pytest

from plumbline.profile.profile import CONFIGS, load_profile
from plumbline.release.clauses import CLAUSES, uncovered_clauses
from plumbline.schema.rubric import load_rubric

pytestmark = pytest.mark.requirement("E14")

RUBRIC = load_rubric(CONFIGS / "rubrics/helpful-harmless.yaml")
GATES = load_profile("sandbox").gates


def with_metric(name, metric):
    clauses = tuple(
        one.model_copy(update={"regression_metric": metric}) if one.id == name else one
        for one in RUBRIC.clauses
    )
    return RUBRIC.model_copy(update={"clauses": clauses})


@pytest.mark.parametrize("profile", ["sandbox", "sandbox-one-language"])
def test_the_sandbox_profiles_cover_their_rubric(profile):
    found = load_profile(profile)
    verdict = uncovered_clauses(load_rubric(CONFIGS / found.rubric), found.gates)
    assert (verdict.name, verdict.verdict, verdict.remedy) == (CLAUSES, "pass", "")
    assert "be-brief by tokens" in verdict.explanation


@pytest.mark.parametrize("profile", ["real-data-cpu", "single-gpu"])
def test_rules_alone_cannot_say_whether_an_answer_is_right(profile):
    found = load_profile(profile)
    verdict = uncovered_clauses(load_rubric(CONFIGS / found.rubric), found.gates)
    assert verdict.verdict == "inconclusive"
    assert verdict.explanation.startswith("1 of 4 clauses")
    assert (
        "'be-correct' has no gate on 'correctness' with direction at_least" in verdict.explanation
    )


@pytest.mark.parametrize("clause", RUBRIC.clauses, ids=lambda clause: clause.id)
def test_each_clause_misses_its_own_gates(clause):
    verdict = uncovered_clauses(
        RUBRIC, [gate for gate in GATES if gate.metric != clause.regression_metric]
    )
    assert verdict.verdict == "inconclusive"
    assert f"'{clause.id}' has no gate on '{clause.regression_metric}'" in verdict.explanation
    assert "add the gate to the profile" in verdict.remedy


def test_a_gate_that_holds_the_wrong_side_does_not_count():
    turned = [
        (
            gate.model_copy(update={"direction": "at_least"})
            if gate.metric == "harmful_compliance"
            else gate
        )
        for gate in GATES
    ]
    assert (
        "'refuse-harm' has no gate on 'harmful_compliance' with direction at_most"
        in uncovered_clauses(RUBRIC, turned).explanation
    )


def test_a_metric_without_a_good_direction_is_covered_from_either_side():
    turned = [
        gate.model_copy(update={"direction": "at_least"}) if gate.metric == "tokens" else gate
        for gate in GATES
    ]
    assert uncovered_clauses(RUBRIC, turned).verdict == "pass"


def test_a_metric_that_does_not_exist_covers_nothing():
    verdict = uncovered_clauses(with_metric("be-brief", "brevity"), GATES)
    assert "'be-brief' names the metric 'brevity', which no eval report has" in verdict.explanation
    assert verdict.verdict == "inconclusive"


def test_without_gates_nothing_is_covered():
    assert uncovered_clauses(RUBRIC, []).explanation.startswith("4 of 4 clauses")
