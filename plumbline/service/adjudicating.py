"""Adjudication: GET and POST /v1/adjudications, which the adjudication page uses too."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field, StringConstraints

from plumbline.data.adjudication.decisions import (
    Adjudication,
    Adjudications,
    Choice,
    QueueItem,
    by_the_order,
    open_items,
)
from plumbline.data.adjudication.newest_queue import latest_adjudication_queue
from plumbline.data.adjudication.rubric_revisions import RubricRevision, adjudicate
from plumbline.errors import ArtifactNotFound, ConfigError, DataError
from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, Text
from plumbline.service.access import Refused
from plumbline.service.dependencies import AppState, JsonBody, Problem, documented, parsed


class OpenItem(Record):
    """An item that waits for a decision, and what the order of the rubric's clauses says about
    it."""

    item: QueueItem
    by_the_order: int | None = Field(
        description=(
            "index of the response that the rubric's order favours, from the clauses that the votes"
            " name; null: none"
        )
    )


class AdjudicationsAnswer(Record):
    """What waits and what was decided under the current rubric."""

    rubric: str
    open: tuple[OpenItem, ...] = Field(description="least agreement first, at most `limit` of them")
    open_in_all: int
    decided: tuple[Adjudication, ...]


class DecisionForm(Record):
    """A decision on one item; it is signed with the name of the key."""

    item: Text
    clause: Identifier = Field(description="the clause of the rubric that decides")
    decision: Choice
    reason: Annotated[str, StringConstraints(min_length=1, max_length=4000)]


class DecisionAnswer(Record):
    """A recorded decision, and the proposals to revise the rubric that it opened."""

    adjudication: Adjudication
    proposals: tuple[RubricRevision, ...]


def routes(service: AppState) -> APIRouter:
    """The routes of those who decide what votes did not."""
    router = APIRouter(prefix="/v1")
    refusals: dict[int | str, dict[str, object]] = {
        status: {"model": Problem} for status in (401, 403, 404, 413, 415, 422, 429)
    }

    @router.get(
        "/adjudications",
        responses=refusals,
        summary="Items that wait for a decision, and decisions",
    )
    def adjudications(
        request: Request, limit: Annotated[int, Query(ge=1, le=1000)] = 50
    ) -> AdjudicationsAnswer:
        """The queue of the newest preference data, without what is decided."""
        service.access.caller(request, "adjudicate", "read")
        items = open_queue(service)
        view = tuple(
            OpenItem(item=item, by_the_order=by_the_order(item, service.rubric))
            for item in items[:limit]
        )
        current = Adjudications(service.store.database).current(service.rubric.label)
        return AdjudicationsAnswer(
            rubric=service.rubric.label,
            open=view,
            open_in_all=len(items),
            decided=tuple(current.values()),
        )

    @router.post(
        "/adjudications",
        status_code=201,
        responses=refusals,
        openapi_extra=documented(DecisionForm),
        summary="Decide an item",
    )
    def post_adjudication(request: Request, body: JsonBody) -> DecisionAnswer:
        """A later decision on the same item takes the place of an earlier one; both are kept."""
        caller = service.access.caller(request, "adjudicate")
        return decide(service, caller.key.name, parsed(body, DecisionForm))

    return router


def queue(service: AppState) -> tuple[QueueItem, ...]:
    """Every item of the newest preference data, decided or not.

    Raises:
        Refused: 404 if there are no preference data yet.
    """
    try:
        return latest_adjudication_queue(service.layout)
    except ArtifactNotFound as error:
        raise Refused(404, str(error)) from error


def open_queue(service: AppState) -> tuple[QueueItem, ...]:
    """The items that wait for a decision, the least agreement first.

    Raises:
        Refused: 404 if there are no preference data yet.
    """
    current = Adjudications(service.store.database).current(service.rubric.label)
    return tuple(
        sorted(open_items(queue(service), current), key=lambda item: (item.agreement, item.item))
    )


def decide(service: AppState, name: str, given: DecisionForm) -> DecisionAnswer:
    """Record a decision under the name of the key.

    Raises:
        Refused: 404 if the item is not in the queue, 422 if the decision does not fit the rubric.
    """
    item = next((item for item in queue(service) if item.item == given.item), None)
    if item is None:
        raise Refused(
            404, f"item {given.item} is not in the adjudication queue of the newest preference data"
        )
    try:
        decided = adjudicate(
            service.store.database,
            item,
            service.rubric,
            clause=given.clause,
            decision=given.decision,
            by=name,
            reason=given.reason,
            proposal_after=service.profile.review.proposal_after,
            now=service.clock(),
        )
    except (ConfigError, DataError) as error:
        raise Refused(422, str(error)) from error
    return DecisionAnswer(adjudication=decided.adjudication, proposals=decided.proposals)
