"""Judging tasks: GET /v1/tasks/next and POST /v1/judgments, which the collecting page uses too."""

from typing import Annotated

from fastapi import APIRouter, Query, Request
from pydantic import Field

from plumbline.data.consent.withdrawals import Withdrawals, withdrawn
from plumbline.data.formats.import_report import ImportedRow
from plumbline.data.store.deliveries import Deliveries
from plumbline.data.store.tasks import PAGE, source_of
from plumbline.errors import InvalidFeedback
from plumbline.records import Record, sha256
from plumbline.schema.identifiers import Identifier
from plumbline.service.access import Caller, Refused
from plumbline.service.blind import ShownTask, TaskJudgment, event_of, shown
from plumbline.service.dependencies import AppState, JsonBody, Problem, documented, parsed


class NextTask(Record):
    """The next task of an annotator, and how far they are."""

    task: ShownTask | None = Field(description="null when there is nothing left to judge")
    judged: int
    open: int


class JudgmentAnswer(Record):
    """A judgment that is in the feedback store."""

    event: Identifier


def routes(service: AppState) -> APIRouter:
    """The routes of annotators."""
    router = APIRouter(prefix="/v1")
    refusals: dict[int | str, dict[str, object]] = {
        status: {"model": Problem} for status in (401, 403, 404, 409, 413, 415, 422, 429)
    }

    @router.get(
        "/tasks/next",
        responses=refusals,
        summary="The next task to judge, without who or what wrote the responses",
    )
    def next_task(
        request: Request,
        skip: Annotated[
            list[str] | None, Query(max_length=100, description="ids of tasks to put off")
        ] = None,
    ) -> NextTask:
        """The task that the fewest have judged; responses stand in an order of this annotator's
        own."""
        caller = service.access.caller(request, "collect")
        return next_for(service, caller, (*caller.skipped, *(skip or ())))

    @router.post(
        "/judgments",
        status_code=201,
        responses=refusals,
        openapi_extra=documented(TaskJudgment),
        summary="Judge a task",
    )
    def post_judgment(request: Request, body: JsonBody) -> JudgmentAnswer:
        """One judgment of one task by the annotator whose key it is."""
        caller = service.access.caller(request, "collect")
        return judge(service, caller.key.name, parsed(body, TaskJudgment))

    return router


def next_for(service: AppState, caller: Caller, skipped: tuple[str, ...]) -> NextTask:
    """What an annotator sees next."""
    name = caller.key.name
    turn = service.tasks.turn_of(name, skipped)
    view = None if turn.task is None else shown(turn.task, name, service.rubric, service.consent)
    return NextTask(task=view, judged=turn.judged, open=turn.open)


def judge(service: AppState, annotator: str, given: TaskJudgment) -> JudgmentAnswer:
    """Store a judgment as a feedback event.

    Raises:
        Refused: 404 if there is no such task, 409 if the annotator has judged it or consent was
            withdrawn, 422 if the judgment does not fit.
    """
    task = service.tasks.get(given.task)
    if task is None:
        raise Refused(404, f"there is no task {given.task}")
    now = service.clock()
    try:
        event = event_of(task, given, annotator, service.rubric, service.consent, now)
    except InvalidFeedback as error:
        raise Refused(422, str(error)) from error
    unusable = withdrawn(event, Withdrawals(service.store.database).all())
    if unusable is not None:
        raise Refused(409, f"this judgment could not be used: {unusable}. Nothing was stored")
    body = event.to_json()
    with service.judging:
        if service.tasks.is_judged(task.id, annotator):
            raise Refused(409, f"{annotator} has judged task {task.id} already; nothing was stored")
        Deliveries(service.store).deliver(
            source_of(task.id, annotator),
            PAGE,
            [ImportedRow(1, 0, len(body), event)],
            sha256(body),
            now,
        )
    return JudgmentAnswer(event=event.id)
