"""A feedback database, a rubric of two clauses, and disputed items."""

from datetime import UTC, datetime

import pytest

from plumbline.data.adjudication.decisions import (
    QueueItem,
    VoteView,
    item_key,
)
from plumbline.data.adjudication.rubric_revisions import adjudicate
from plumbline.data.store.database import Database
from plumbline.schema.identifiers import content_id
from plumbline.schema.rubric import Clause, Rubric
from tests.unit.conftest import turns

NOW = datetime(2026, 1, 5, 12, tzinfo=UTC)


@pytest.fixture
def database(feedback_url):
    opened = Database(feedback_url)
    yield opened
    opened.close()


@pytest.fixture
def two_clauses(rubric):
    clauses = tuple(
        Clause(
            id=i,
            name=f"Rule {i}.",
            variable="v",
            estimated_from="e",
            enforced_by="l",
            regression_metric="reward",
        )
        for i in ("harm", "brief")
    )
    return Rubric.model_validate(
        rubric.model_dump() | {"clauses": clauses, "priorities": ("harm", "brief")}
    )


def vote(preferred, clause=None, annotator="rater-01", **fields):
    defaults = {
        "event": content_id([annotator, preferred, clause]),
        "strength": 1,
        "reason": None,
        "rubric": "test@1",
    }
    return VoteView(annotator=annotator, preferred=preferred, clause=clause, **defaults | fields)


def item(number=0, votes=None, responses=("A long answer", "No"), rubric="test@1"):
    votes = votes or (vote(0), vote(1, annotator="rater-02"))
    prompt = turns(f"Question {number}?")
    clauses = tuple(sorted({v.clause for v in votes if v.clause}))
    key = item_key(prompt, responses)
    return QueueItem(
        item=key,
        rubric=rubric,
        prompt=prompt,
        responses=responses,
        votes=votes,
        agreement=0.5,
        clauses=clauses,
        why="contradiction",
    )


def decide(
    database,
    rubric,
    number=0,
    clause="harm",
    decision="first",
    now=NOW,
    by="Ada",
    reason="It is.",
    after=3,
):
    return adjudicate(
        database,
        item(number),
        rubric,
        clause=clause,
        decision=decision,
        by=by,
        reason=reason,
        proposal_after=after,
        now=now,
    )
