"""The feedback service as an ASGI application."""

import logging
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from fastapi.staticfiles import StaticFiles
from sqlalchemy.exc import SQLAlchemyError
from starlette.exceptions import HTTPException

from plumbline.data.store.api_keys import ApiKeys
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.tasks import Tasks
from plumbline.errors import PlumblineError
from plumbline.profile.profile import CONFIGS, Profile
from plumbline.schema.rubric import load_rubric
from plumbline.service import adjudicating, collecting, events, pages
from plumbline.service.access import Access, Refused
from plumbline.service.adjudicating import DecisionForm
from plumbline.service.blind import TaskJudgment
from plumbline.service.consent_text import load_consent_text
from plumbline.service.dependencies import AppState, add_schemas
from plumbline.service.events import SubmittedEvent
from plumbline.service.limits import Limits
from plumbline.service.middleware import HEADERS, LOOPBACK_HOSTS, Guard, TooLarge
from plumbline.storage.home import HomeLayout

DEFAULT_LIMITS = Limits()
_SUMMARY = "Judgments of model responses: sent by programs, given on a page, adjudicated by people."
_LOG = logging.getLogger("plumbline.service")


def create_app(
    layout: HomeLayout,
    profile: Profile,
    clock: Callable[[], datetime] = lambda: datetime.now(UTC),
    *,
    hosts: tuple[str, ...] = LOOPBACK_HOSTS,
    limits: Limits = DEFAULT_LIMITS,
    seconds: Callable[[], float] = time.monotonic,
) -> FastAPI:
    """The service of one profile.

    Args:
        layout: Where the feedback store and the artifacts are.
        profile: Its rubric is the one that people judge by.
        clock: Gives the time of judgments and deliveries.
        hosts: Names in the Host header that are answered.
        limits: Sizes and rates.
        seconds: Clock of rates and sessions; never goes back.

    Raises:
        ConfigError: If the rubric admits no consent version that has a text.
    """
    rubric = load_rubric(CONFIGS / profile.rubric)
    store = FeedbackStore(layout.feedback_url)
    keys = ApiKeys(store.database)
    access = Access(profile.name, keys, limits, seconds)
    consent = load_consent_text(rubric)
    tasks = Tasks(store.database)
    service = AppState(layout, profile, rubric, consent, store, keys, tasks, access, limits, clock)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        store.close()

    app = FastAPI(
        lifespan=lifespan,
        title="Plumbline feedback",
        version="1",
        summary=_SUMMARY,
        # both pages load their scripts from elsewhere; /openapi.json describes the same
        docs_url=None,
        redoc_url=None,
    )
    for module in (events, collecting, adjudicating, pages):
        app.include_router(module.routes(service))
    app.mount("/static", StaticFiles(directory=pages.STATIC), name="static")
    app.add_middleware(Guard, hosts=hosts, body_bytes=limits.body_bytes)
    _answer_problems(app, service)
    _describe(app)
    return app


def _answer_problems(app: FastAPI, service: AppState) -> None:
    """Refusals are one JSON object with `error`, or a page for people; nothing of a traceback
    leaves the process."""

    def answer(
        request: Request, status: int, message: str, headers: dict[str, str] | None = None
    ) -> Response:
        if "text/html" in request.headers.get("accept", "") and not request.url.path.startswith(
            "/v1/"
        ):
            return pages.problem_page(service, status, message)
        return JSONResponse({"error": message}, status_code=status, headers=headers)

    @app.exception_handler(Refused)
    def refused(request: Request, error: Refused) -> Response:
        return answer(request, error.status, str(error), error.headers)

    @app.exception_handler(TooLarge)
    def too_large(request: Request, error: TooLarge) -> Response:
        return answer(request, 413, str(error), {"connection": "close"})

    @app.exception_handler(RequestValidationError)
    def invalid(request: Request, error: RequestValidationError) -> Response:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        return answer(request, 422, problems)

    @app.exception_handler(HTTPException)
    def http(request: Request, error: HTTPException) -> Response:
        return answer(
            request,
            error.status_code,
            f"{error.detail}: {request.method} {request.url.path}",
            dict(error.headers or {}),
        )

    @app.exception_handler(PlumblineError)
    def plain(request: Request, error: PlumblineError) -> Response:
        return answer(request, 409, str(error))

    @app.exception_handler(SQLAlchemyError)
    def database(request: Request, error: SQLAlchemyError) -> Response:
        _LOG.error("the feedback store failed", exc_info=error)
        return answer(
            request,
            503,
            f"the feedback store cannot be used: {type(error).__name__}; the log of the service"
            " says more",
        )

    @app.exception_handler(Exception)
    def unexpected(_request: Request, _error: Exception) -> Response:
        # This answer is made outside the guard, so that it carries the headers itself; the server
        # logs the traceback.
        headers = {name.decode(): value.decode() for name, value in HEADERS}
        return JSONResponse(
            {"error": "the service failed; its log says why"}, status_code=500, headers=headers
        )


def _describe(app: FastAPI) -> None:
    """Add to the OpenAPI description what FastAPI cannot see: bodies that are parsed strictly by
    hand, and the key."""
    plain = app.openapi

    def described() -> dict[str, Any]:
        if app.openapi_schema is None:
            description = plain()
            add_schemas(description, SubmittedEvent, TaskJudgment, DecisionForm)
            description["components"]["securitySchemes"] = {
                "key": {"type": "apiKey", "in": "header", "name": "X-API-Key"}
            }
            description["security"] = [{"key": []}]
            app.openapi_schema = description
        return app.openapi_schema

    app.openapi = described  # type: ignore[method-assign]  # the way that FastAPI documents for a description of one's own
