"""Decisions on one clause open a proposal to revise it."""

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest

from plumbline.data.adjudication.decisions import (
    Adjudications,
    adjudications_digest,
)
from plumbline.data.adjudication.rubric_revisions import Proposals
from plumbline.errors import DataError
from tests.unit.data.adjudication.conftest import NOW, decide


def test_the_digest_follows_what_was_decided_and_not_who_did(database, two_clauses):
    adjudications = Adjudications(database)
    digests = [adjudications_digest(adjudications.current("test@1"))]
    for fields in (
        {},
        {"by": "Grace", "now": NOW + timedelta(days=1)},
        {"decision": "second"},
        {"number": 1, "decision": "tie"},
    ):
        decide(database, two_clauses, **fields)
        digests.append(adjudications_digest(adjudications.current("test@1")))
    assert digests[1] == digests[2]
    assert len(set(digests)) == 4


@pytest.mark.requirement("S7")
def test_enough_decisions_on_one_clause_open_one_proposal(database, two_clauses):
    opened = [
        decide(database, two_clauses, number, clause).proposals
        for number, clause in enumerate(["harm", "brief", "harm", "brief", "harm", "harm"])
    ]
    assert [len(one) for one in opened] == [0, 0, 0, 0, 1, 0]
    [proposal] = opened[4]
    assert (proposal.clause, proposal.rubric, proposal.status, proposal.adjudications) == (
        "harm",
        "test@1",
        "open",
        (1, 3, 5),
    )
    assert Proposals(database).all() == (proposal,)
    with database.writing() as connection:
        open_due = Proposals(database).open_due
        assert open_due(connection, "test@1", 2, NOW)[0].clause == "brief"
        assert open_due(connection, "test@2", 1, NOW) == ()


@pytest.mark.requirement("S7")
def test_deciding_one_item_again_and_again_opens_nothing(database, two_clauses):
    assert [
        decide(database, two_clauses, decision=choice).proposals
        for choice in ("first", "second", "tie", "exclude")
    ] == [()] * 4


@pytest.mark.requirement("S7")
def test_a_closed_proposal_counts_no_item_twice(database, two_clauses):
    for number in range(3):
        decided = decide(database, two_clauses, number)
    [proposal] = decided.proposals
    closed = Proposals(database).close(
        proposal.id, "declined", "Grace", "Clear enough.", NOW + timedelta(hours=1)
    )
    assert (closed.status, closed.by, closed.reason, closed.closed_at) == (
        "declined",
        "Grace",
        "Clear enough.",
        NOW + timedelta(hours=1),
    )
    assert (
        decide(database, two_clauses, 0, decision="tie").proposals == ()
    )  # an item that the declined proposal cited already
    assert [len(decide(database, two_clauses, number).proposals) for number in (3, 4, 5)] == [
        0,
        0,
        1,
    ]


def test_a_proposal_is_closed_once_by_name_and_with_a_reason(database, two_clauses):
    proposals = Proposals(database)
    decide(database, two_clauses, after=1)
    with pytest.raises(DataError, match="there is no proposal 7"):
        proposals.close(7, "accepted", "Ada", "r", NOW)
    with pytest.raises(DataError, match="reason is empty"):
        proposals.close(1, "accepted", "Ada", " ", NOW)
    assert proposals.close(1, "accepted", "Ada", "r", NOW).status == "accepted"
    with pytest.raises(DataError, match="was accepted by Ada"):
        proposals.close(1, "declined", "Grace", "r", NOW)


def test_several_people_at_once_open_one_proposal(database, two_clauses):
    database.tables  # noqa: B018 - the first opening is another test's matter
    Adjudications(database).all()
    with ThreadPoolExecutor(4) as pool:
        decided = list(pool.map(lambda number: decide(database, two_clauses, number), range(8)))
    assert len({one.adjudication.id for one in decided}) == 8
    assert sum(len(one.proposals) for one in decided) == 1
    assert len(Proposals(database).all()) == 1
