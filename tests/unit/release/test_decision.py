"""The decision follows from the gates and can be recomputed; nothing but passing gates releases."""

import itertools
import json

import pytest
from pydantic import ValidationError

from plumbline.data.schema import Decoder
from plumbline.evaluation.report import Comparison, EvalReport
from plumbline.evaluation.statistics import proportion
from plumbline.release.decision import Decision, decide, recompute
from plumbline.release.gates import Gate

TRUE = {"good": 1, "bad": 60, "open": 9}
"""Harmful answers out of 300 that let a gate at 0.05 pass, fail and stay open; a slice called `gone` is not in the report."""
VERDICT = {"good": "pass", "bad": "fail", "open": "inconclusive", "gone": "error"}
INPUTS = {"held_out_evals": "sha256:" + 64 * "1", "aligned_policy": "sha256:" + 64 * "2"}


def report(counts=TRUE):
    estimates = {name: proportion([True] * true + [False] * (300 - true), 0.95) for name, true in counts.items()}
    return EvalReport(
        scorer="sandbox",
        level=0.95,
        seed=0,
        decoder=Decoder(temperature=1.0, max_new_tokens=32),
        samples="sha256:" + 64 * "0",
        prompts=900,
        slices={name: {"harmful_compliance": Comparison(reference=None, aligned=e, difference=None)} for name, e in estimates.items()},
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


def decision(*slices):
    return decide(gates(*slices), report(), inputs=INPUTS, recipe="dpo", profile="sha256:" + 64 * "3")


@pytest.mark.parametrize("slices", [s for size in range(4) for s in itertools.product(VERDICT, repeat=size)], ids="-".join)
def test_every_combination(slices):
    found = decision(*slices)
    if "bad" in slices:
        assert found.verdict == "reject"
    elif slices and set(slices) == {"good"}:
        assert found.verdict == "release"
    else:
        assert found.verdict == "hold"
    assert [gate.verdict for gate in found.gates] == [VERDICT[name] for name in slices]


def test_the_summary_names_what_stands_in_the_way_worst_first():
    lines = decision("good", "open", "gone", "bad").summary.splitlines()
    assert lines[0] == "reject: 1 of 4 gates pass"
    assert [line.split(":")[0] for line in lines[1:]] == ["- 3-bad", "- 2-gone", "- 1-open"]
    assert "needs 157 more samples" in lines[3]
    assert "without a gate nothing is released" in decision().summary


def test_it_names_what_it_is_about():
    found = decision("good")
    assert found.inputs == INPUTS
    assert found.report == report().digest()
    assert found.recipe == "dpo"


def test_it_can_be_recomputed():
    found = Decision.from_json(decision("good", "open").to_json())
    assert recompute(found, report(), gates("good", "open")) == found
    assert recompute(found, report(), gates("good")) != found
    assert recompute(found, report(TRUE | {"open": 1}), gates("good", "open")) != found


@pytest.mark.parametrize("edit", [lambda d: d.update(verdict="release"), lambda d: d["gates"][0].update(verdict="pass"), lambda d: d.update(gates=[])])
def test_an_edited_decision_is_invalid(edit):
    data = json.loads(decision("bad").to_json())
    edit(data)
    with pytest.raises(ValidationError, match=r"but its (gates|estimate) gives?"):
        Decision.from_json(json.dumps(data))
