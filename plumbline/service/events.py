"""Events over HTTP: POST /v1/events and GET /v1/status."""

from collections.abc import Iterator
from datetime import datetime
from typing import Literal

from fastapi import APIRouter, Request
from pydantic import AwareDatetime, Field, ValidationError, create_model

from plumbline.data.formats.reading import read_feedback
from plumbline.data.readers.files import split_rows
from plumbline.data.readers.rows import ParsedRow, RejectedRow, Row
from plumbline.data.store.deliveries import Deliveries, RowOutcome
from plumbline.errors import DataError
from plumbline.records import Record, sha256
from plumbline.schema.feedback import FeedbackEvent
from plumbline.service.access import Refused
from plumbline.service.dependencies import AppState, JsonBody, Problem, documented


class EventResult(Record):
    """What became of one event of a request."""

    row: int = Field(ge=1, description="place in the request, from 1")
    event: str | None = Field(
        description="id of the event; null when the row could not be read as one"
    )
    result: Literal["accepted", "duplicate", "quarantined"]
    reason: str | None = Field(description="why it is quarantined; null otherwise")


class EventsAnswer(Record):
    """What became of a request: the three counts add up to the rows."""

    rows: int
    accepted: int
    duplicate: int
    quarantined: int
    results: tuple[EventResult, ...]


class StatusAnswer(Record):
    """How the feedback store and the tasks stand."""

    profile: str
    rubric: str
    consent: str
    open_events: int = Field(description="events that wait for a batch")
    oldest_open: AwareDatetime | None
    batches: int
    tasks: dict[int, int] = Field(
        description="number of judgments from the page to number of tasks that have as many"
    )


_FIELDS = {
    name: (field.annotation, field)
    for name, field in FeedbackEvent.model_fields.items()
    if name != "id"
}
SubmittedEvent: type[Record] = create_model(  # type: ignore[call-overload]  # its types know no fields from a mapping
    "SubmittedEvent",
    __base__=Record,
    __doc__="A feedback event; the id may be left out and is then derived from the content.",
    **_FIELDS,
    id=(str | None, None),
)


def routes(service: AppState) -> APIRouter:
    """The routes of clients that send events, and of those that watch."""
    router = APIRouter(prefix="/v1")
    refusals: dict[int | str, dict[str, object]] = {
        status: {"model": Problem} for status in (400, 401, 403, 413, 415, 429)
    }

    @router.post(
        "/events",
        responses=refusals,
        openapi_extra=documented(SubmittedEvent, many=True),
        summary="Send one event or a list of events",
    )
    def post_events(request: Request, body: JsonBody) -> EventsAnswer:
        """Each row is accepted, known already, or quarantined with a reason; sending the same again
        changes nothing."""
        caller = service.access.caller(request, "submit")
        return deliver(service, caller.key.name, body, service.clock())

    @router.get("/status", responses=refusals, summary="Counts of events, batches and tasks")
    def status(request: Request) -> StatusAnswer:
        """What waits for a batch, and how far the tasks are judged."""
        service.access.caller(request, "read")
        count, oldest = service.store.open_events()
        return StatusAnswer(
            profile=service.profile.name,
            rubric=service.rubric.label,
            consent=service.consent.version,
            open_events=count,
            oldest_open=oldest,
            batches=len(service.store.batches()),
            tasks=service.tasks.counts(),
        )

    return router


def deliver(service: AppState, sender: str, body: bytes, now: datetime) -> EventsAnswer:
    """Take in the events of one request.

    Raises:
        Refused: 400 if the body is no JSON at all, 413 if it holds too many events.
    """
    try:
        rows = list(split_rows(body))
    except DataError as error:
        raise Refused(400, str(error)) from error
    if len(rows) > service.limits.events:
        raise Refused(
            413, f"{len(rows)} events in one request; send at most {service.limits.events}"
        )
    outcomes: list[RowOutcome] = []
    arrivals = read_feedback(_with_ids(rows), "jsonl")
    delivery = Deliveries(service.store).deliver(
        f"http/{sender}", "http", arrivals, sha256(body), now, each=outcomes.append
    )
    results = tuple(
        EventResult(
            row=outcome.row, event=outcome.event_id, result=outcome.result, reason=outcome.reason
        )
        for outcome in sorted(outcomes, key=lambda outcome: outcome.row)
    )
    return EventsAnswer(
        rows=delivery.rows,
        accepted=delivery.accepted,
        duplicate=delivery.duplicate,
        quarantined=delivery.quarantined,
        results=results,
    )


def _with_ids(rows: list[Row]) -> Iterator[Row]:
    """The rows, with the id of its content in each event that left it out; what is wrong otherwise
    is for the importer to say."""
    for row in rows:
        if (
            isinstance(row, RejectedRow)
            or not isinstance(row.value, dict)
            or row.value.get("id") is not None
        ):
            yield row
            continue
        try:
            draft = SubmittedEvent.model_validate_json(row.body)
            event = FeedbackEvent.create(**{name: getattr(draft, name) for name in _FIELDS})
        except ValidationError:
            yield row
        else:
            body = event.to_json()
            yield ParsedRow(
                row.number, row.offset, body, None
            )  # our own events are read from the bytes
