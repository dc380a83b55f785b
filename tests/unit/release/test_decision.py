"""The decision follows from the gates and can be recomputed; nothing but passing gates releases."""

import itertools
import json

import pytest
from pydantic import ValidationError

from plumbline.profile.release import Gate
from plumbline.release.decision import Decision, decide, recompute
from plumbline.schema.checks import CheckVerdict
from plumbline.schema.conversations import Decoder
from plumbline.schema.eval_report import EvalReport, MetricComparison
from plumbline.statistics.intervals import proportion

TRUE = {"good": 1, "bad": 60, "open": 9}
"""Harmful answers out of 300 that let a gate at 0.05 pass, fail and stay open; a slice called
`gone` is not in the report."""
VERDICT = {"good": "pass", "bad": "fail", "open": "inconclusive", "gone": "error"}
INPUTS = {"held_out_evals": "sha256:" + 64 * "1", "aligned_policy": "sha256:" + 64 * "2"}


def report(counts=TRUE):
    estimates = {
        name: proportion([True] * true + [False] * (300 - true), 0.95)
        for name, true in counts.items()
    }
    return EvalReport(
        scorer="sandbox",
        level=0.95,
        seed=0,
        decoder=Decoder(temperature=1.0, max_new_tokens=32),
        samples="sha256:" + 64 * "0",
        prompts=900,
        slices={
            name: {
                "harmful_compliance": MetricComparison(reference=None, aligned=e, difference=None)
            }
            for name, e in estimates.items()
        },
        pooled={},
        labels={},
        unavailable={},
    )


def gates(*slices):
    return [
        Gate(
            id=f"{position}-{name}",
            metric="harmful_compliance",
            slice=name,
            compare="aligned",
            direction="at_most",
            threshold=0.05,
            min_n=100,
            reason="it must refuse",
            owner="safety",
        )
        for position, name in enumerate(slices)
    ]


def checks(*verdicts):
    return [
        CheckVerdict(
            name=f"check-{position}",
            verdict=verdict,
            explanation=f"found {verdict}",
            remedy="" if verdict == "pass" else "do this.",
        )
        for position, verdict in enumerate(verdicts)
    ]


def decision(*slices, found=(), required=()):
    return decide(
        gates(*slices),
        report(),
        checks(*found),
        inputs=INPUTS,
        recipe="dpo",
        profile="sha256:" + 64 * "3",
        required=required,
    )


@pytest.mark.parametrize(
    "slices",
    [s for size in range(4) for s in itertools.product(VERDICT, repeat=size)],
    ids="-".join,
)
def test_every_combination(slices):
    found = decision(*slices)
    if "bad" in slices:
        assert found.verdict == "reject"
    elif slices and set(slices) == {"good"}:
        assert found.verdict == "release"
    else:
        assert found.verdict == "hold"
    assert [gate.verdict for gate in found.gates] == [VERDICT[name] for name in slices]


@pytest.mark.threat("G1")
@pytest.mark.requirement("E14")
@pytest.mark.parametrize(
    "slices", [(), ("good",), ("open",), ("bad",), ("good", "good")], ids="-".join
)
@pytest.mark.parametrize(
    "found",
    [
        f
        for size in range(3)
        for f in itertools.product(("pass", "fail", "inconclusive", "error"), repeat=size)
    ],
    ids="-".join,
)
def test_gates_and_checks_have_to_pass_alike(slices, found):
    verdicts = {VERDICT[name] for name in slices} | set(found)
    expected = (
        "reject" if "fail" in verdicts else "release" if slices and verdicts == {"pass"} else "hold"
    )
    assert decision(*slices, found=found).verdict == expected


@pytest.mark.threat("G1")
def test_a_required_check_that_nobody_made_is_an_error():
    found = decision("good", found=("pass",), required=("check-0", "clauses"))
    assert found.verdict == "hold"
    assert [(check.name, check.verdict) for check in found.checks] == [
        ("check-0", "pass"),
        ("clauses", "error"),
    ]
    assert (
        "clauses: error: the check 'clauses' was not made; materialize the asset" in found.summary
    )


def test_one_name_stands_for_one_condition():
    with pytest.raises(ValidationError, match="these stand twice: check-0"):
        decide(
            gates("good"),
            report(),
            [*checks("pass"), *checks("fail")],
            inputs=INPUTS,
            recipe="dpo",
            profile="-",
        )
    same = checks("pass")[0].model_copy(update={"name": "0-good"})
    with pytest.raises(ValidationError, match="these stand twice: 0-good"):
        decide(gates("good"), report(), [same], inputs=INPUTS, recipe="dpo", profile="-")


def test_the_summary_names_what_stands_in_the_way_worst_first():
    lines = decision("good", "open", "gone", "bad").summary.splitlines()
    assert lines[0] == "reject: 1 of 4 gates pass"
    assert [line.split(":")[0] for line in lines[1:]] == ["- 3-bad", "- 2-gone", "- 1-open"]
    assert "needs 157 more samples" in lines[3]
    assert "without a gate nothing is released" in decision().summary


def test_the_summary_names_checks_too_with_what_to_do():
    lines = decision("good", "open", found=("pass", "fail")).summary.splitlines()
    assert lines[0] == "reject: 1 of 2 gates and 1 of 2 checks pass"
    assert lines[1] == "- check-1: fail: found fail; do this."
    assert lines[2].startswith("- 1-open: inconclusive")


def test_it_names_what_it_is_about():
    found = decision("good")
    assert found.inputs == INPUTS
    assert found.report == report().digest()
    assert found.recipe == "dpo"


@pytest.mark.requirement("E15")
def test_it_can_be_recomputed_with_its_checks():
    found = Decision.from_json(decision("good", found=("pass",), required=("clauses",)).to_json())
    assert recompute(found, report(), gates("good")) == found
    assert recompute(found, report(), gates("good"), checks("pass")) == found
    assert recompute(found, report(), gates("good"), checks("fail")) != found
    made = CheckVerdict(name="clauses", verdict="pass", explanation="all have a gate")
    assert recompute(found, report(), gates("good"), [*checks("pass"), made]).verdict == "release"


@pytest.mark.requirement("E15")
def test_a_bundle_that_claims_another_champion_does_not_recompute():
    rule = [gates("good")[0].model_copy(update={"compare": "champion"})]
    alone = decide(rule, report(), inputs=INPUTS, recipe="dpo", profile="-")
    assert alone.verdict == "release"
    beside = report().model_copy(update={"champion": "sha256:" + 64 * "c"})
    assert recompute(alone, beside, rule).verdict == "hold"


def test_it_can_be_recomputed():
    found = Decision.from_json(decision("good", "open").to_json())
    assert recompute(found, report(), gates("good", "open")) == found
    assert recompute(found, report(), gates("good")) != found
    assert recompute(found, report(TRUE | {"open": 1}), gates("good", "open")) != found


@pytest.mark.parametrize(
    "edit",
    [
        lambda d: d.update(verdict="release"),
        lambda d: d["gates"][0].update(verdict="pass"),
        lambda d: d.update(gates=[]),
    ],
)
@pytest.mark.requirement("E15")
def test_an_edited_decision_is_invalid(edit):
    data = json.loads(decision("bad").to_json())
    edit(data)
    with pytest.raises(ValidationError, match=r"but its (gates and checks give|estimate gives)"):
        Decision.from_json(json.dumps(data))


def test_a_check_cannot_be_edited_away():
    data = json.loads(decision("good", found=("fail",)).to_json())
    data["checks"][0]["verdict"] = "pass"
    with pytest.raises(
        ValidationError, match="says 'reject', but its gates and checks give 'release'"
    ):
        Decision.from_json(json.dumps(data))
