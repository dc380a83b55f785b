"""The pages: sign in, judge, adjudicate. Everything they show is escaped text, and they load
nothing from elsewhere."""

from collections import Counter
from functools import cache
from pathlib import Path

from fastapi import APIRouter, Request
from fastapi.responses import HTMLResponse, JSONResponse, RedirectResponse, Response
from jinja2 import Environment, FileSystemLoader, StrictUndefined
from pydantic import Field

from plumbline.data.adjudication.decisions import QueueItem, by_the_order
from plumbline.data.store.api_keys import ApiKey
from plumbline.records import Record
from plumbline.service.access import Caller, Refused
from plumbline.service.adjudicating import open_queue
from plumbline.service.collecting import next_for
from plumbline.service.dependencies import AppState, JsonBody, parsed

STATIC = Path(__file__).resolve().parent / "static"
STRENGTHS = ((0, "negligibly"), (1, "slightly"), (2, "clearly"), (3, "significantly"))
_SKIPPED = 200  # tasks that one session puts off


class SignIn(Record):
    """The key of somebody who signs in on the page."""

    key: str = Field(max_length=256)


class SignedIn(Record):
    """Where somebody who signed in goes."""

    page: str


def render(template: str, **values: object) -> str:
    """A page; every value is escaped, and a name that the template uses and nobody gave is an
    error."""
    return str(_environment().get_template(template).render(**values))


def routes(service: AppState) -> APIRouter:
    """The pages of people."""
    router = APIRouter(include_in_schema=False)

    @router.get("/")
    def start(request: Request) -> Response:
        caller = service.access.session_caller(request)
        return RedirectResponse(
            "/login" if caller is None else page_of(caller.key), status_code=303
        )

    @router.get("/login")
    def sign_in_form() -> Response:
        return HTMLResponse(
            render("sign_in.html", profile=service.profile.name, signed_in=None, page="login")
        )

    @router.post("/login")
    def sign_in(request: Request, body: JsonBody) -> Response:
        service.access.require_own_page(request)
        key = service.access.verify(request, parsed(body, SignIn).key.strip())
        answer = JSONResponse(SignedIn(page=page_of(key)).model_dump())
        token, seconds = service.access.sessions.begin(key), int(service.limits.session_seconds)
        answer.set_cookie(
            service.access.cookie,
            token,
            max_age=seconds,
            httponly=True,
            samesite="strict",
            secure=request.url.scheme == "https",
            path="/",
        )
        return answer

    @router.post("/logout")
    def sign_out(request: Request) -> Response:
        service.access.require_own_page(request)
        service.access.sessions.end(request.cookies.get(service.access.cookie, ""))
        answer = JSONResponse(SignedIn(page="/login").model_dump())
        answer.delete_cookie(service.access.cookie, path="/")
        return answer

    @router.get("/collect")
    def collect(request: Request, skip: str | None = None) -> Response:
        if service.access.session_caller(request) is None:
            return RedirectResponse("/login", status_code=303)
        return HTMLResponse(
            _collecting_page(service, service.access.caller(request, "collect"), skip)
        )

    @router.get("/adjudicate")
    def adjudicate_page(request: Request, item: str | None = None) -> Response:
        if service.access.session_caller(request) is None:
            return RedirectResponse("/login", status_code=303)
        return HTMLResponse(
            _adjudication_page(service, service.access.caller(request, "adjudicate"), item)
        )

    return router


def page_of(key: ApiKey) -> str:
    """The page that somebody with this key works on."""
    return (
        "/adjudicate" if "collect" not in key.scopes and "adjudicate" in key.scopes else "/collect"
    )


def problem_page(service: AppState, status: int, message: str) -> Response:
    """A refusal as a page, for people."""
    return HTMLResponse(
        render(
            "problem.html", profile=service.profile.name, signed_in=None, page="", message=message
        ),
        status_code=status,
    )


def _collecting_page(service: AppState, caller: Caller, skip: str | None) -> str:
    session = caller.session
    if session is not None and skip is not None and len(session.skipped) < _SKIPPED:
        session.skipped[:] = [task for task in session.skipped if task != skip] + [skip]
    coming = next_for(service, caller, caller.skipped)
    return render(
        "collect.html",
        profile=service.profile.name,
        signed_in=caller.key,
        page="collect",
        task=coming.task,
        judged=coming.judged,
        open=coming.open,
        rubric=service.rubric,
        consent=service.consent,
        strengths=STRENGTHS,
    )


def _adjudication_page(service: AppState, caller: Caller, wanted: str | None) -> str:
    try:
        items, message = open_queue(service), None
    except Refused as error:
        items, message = (), str(error)
    place = next((index for index, item in enumerate(items) if item.item == wanted), 0)
    item = items[place] if items else None
    return render(
        "adjudicate.html",
        profile=service.profile.name,
        signed_in=caller.key,
        page="adjudicate",
        item=item,
        place=place,
        items=items,
        message=message,
        votes=None if item is None else _votes(item),
        order=None if item is None else by_the_order(item, service.rubric),
        rubric=service.rubric,
        strengths=dict(STRENGTHS),
    )


def _votes(item: QueueItem) -> dict[int | None, int]:
    """Votes by the index of the response that they prefer; None is a tie."""
    return dict(Counter(vote.preferred for vote in item.votes))


@cache
def _environment() -> Environment:
    folder = Path(__file__).resolve().parent / "templates"
    return Environment(
        loader=FileSystemLoader(folder),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
