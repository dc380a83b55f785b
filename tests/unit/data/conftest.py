"""Makers of records for the data tests."""

from datetime import UTC, datetime

import pytest

from plumbline.data.rules import ContaminationRule, NearDuplicateRule, PreferenceRule, SplitShares
from plumbline.data.schema import (
    Comparison,
    Consent,
    Context,
    Demonstration,
    EvalPrompt,
    FeedbackEvent,
    Message,
    Provenance,
    Response,
    ResponseSource,
    content_id,
)
from plumbline.rubric import Approval, Clause, Margins, RiskCategory, Rubric

TIME = datetime(2026, 1, 5, 12, tzinfo=UTC)
PROVENANCE = Provenance(written_by="a", filtered_by="b", approved_by="c")
CONTEXT = Context(locale="en", domain="test", slice="unsliced")
SOURCE = ResponseSource(policy="p", chat_template="t", role_format="conversation", decoder=None)


def turns(*texts):
    return tuple(Message(role="user" if index % 2 == 0 else "assistant", content=text) for index, text in enumerate(texts))


def event(prompt="How?", first="A long answer", second="No", preferred=0, strength=2, annotator="rater-01", *, scope="training", consent="c-1", **fields):
    return FeedbackEvent.create(
        prompt=turns(prompt) if isinstance(prompt, str) else prompt,
        responses=(Response(text=first, source=SOURCE), Response(text=second, source=SOURCE)),
        judgment=Comparison(preferred=preferred, strength=strength),
        annotator=annotator,
        provenance=PROVENANCE,
        consent=Consent(scope=scope, version=consent),
        **{"rubric": "test@1", "context": CONTEXT, "synthetic": False, "time": TIME} | fields,
    )


def demonstration(prompt="How?", response="So.", consent="c-1", number=0):
    return Demonstration(
        id=content_id([prompt, response, number]),
        prompt=turns(prompt),
        response=response,
        author_role="annotator",
        provenance=PROVENANCE,
        consent=Consent(scope="training", version=consent),
        context=CONTEXT,
    )


def held_out(*texts):
    return [EvalPrompt(id=content_id(text), prompt=turns(text), expected="unknown", context=CONTEXT) for text in texts]


@pytest.fixture
def make_event():
    return event


@pytest.fixture
def make_demonstration():
    return demonstration


@pytest.fixture
def make_held_out():
    return held_out


@pytest.fixture
def make_turns():
    return turns


@pytest.fixture
def rubric():
    clause = Clause(id="help", name="n", variable="v", estimated_from="e", enforced_by="l", regression_metric="reward")
    return Rubric(
        name="test",
        version=1,
        owner="o",
        approval=Approval(approved_by="a", date="d", reason="r"),
        optimized=("x",),
        forbidden=("y",),
        evidence=("z",),
        clauses=(clause,),
        taxonomy=(RiskCategory(id="r", name="n", expected_behaviour=("b",)),),
        priorities=("help",),
        margins=Margins(negligible=0, slightly=0.25, better=0.5, significantly=1),
        consent=("c-1",),
    )


@pytest.fixture
def rule():
    return PreferenceRule(
        split=SplitShares(validation=0.2, calibration=0.1),
        min_agreement=0.6,
        near_duplicates=NearDuplicateRule(shingle=5, threshold=0.7, action="report"),
        contamination=ContaminationRule(ngram=8, threshold=0.5),
        suite="suites/preferences.yaml",
    )


@pytest.fixture
def many_events():
    """100 prompts with a pair each, judged in either order of the responses."""
    return [event(f"Question {n}?", f"good {n}", f"bad {n}") if n % 2 else event(f"Question {n}?", f"bad {n}", f"good {n}", preferred=1) for n in range(100)]
