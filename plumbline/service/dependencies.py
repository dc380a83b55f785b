"""What the routes of the service share: stores, clocks, access, and strict bodies."""

import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import datetime
from typing import Annotated, Any, TypeVar

from fastapi import Depends, Request
from pydantic.json_schema import models_json_schema

from plumbline.data.store.api_keys import ApiKeys
from plumbline.data.store.events import FeedbackStore
from plumbline.data.store.tasks import Tasks
from plumbline.profile.profile import Profile
from plumbline.records import Record
from plumbline.schema.rubric import Rubric
from plumbline.service.access import Access, Refused
from plumbline.service.consent_text import ConsentText
from plumbline.service.limits import Limits
from plumbline.storage.home import HomeLayout
from plumbline.storage.jsonl import parse_record

Model = TypeVar("Model", bound=Record)


class Problem(Record):
    """The answer to a request that was refused."""

    error: str


@dataclass(frozen=True)
class AppState:
    """Everything that a route needs."""

    layout: HomeLayout
    profile: Profile
    rubric: Rubric
    consent: ConsentText
    store: FeedbackStore
    keys: ApiKeys
    tasks: Tasks
    access: Access
    limits: Limits
    clock: Callable[[], datetime]
    judging: threading.Lock = field(default_factory=threading.Lock)
    """Held while a judgment is checked and stored, so that a double click stores one."""


async def read_json_body(request: Request) -> bytes:
    """The bytes of a body that says that it is JSON.

    Raises:
        Refused: 415 for other types, because a form of any web page can send them.
    """
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind != "application/json":
        raise Refused(415, f"the body must be application/json, not {kind or 'of no type'}")
    return await request.body()


# No body of FastAPI's own: it lets a key stand twice, takes no list for a tuple of a strict record,
# and reads the schema before the route has seen who is asking.
JsonBody = Annotated[bytes, Depends(read_json_body)]


def parsed(body: bytes, model: type[Model]) -> Model:
    """A body as a record, by the strict parser that reads files too.

    Raises:
        Refused: 422 if it is not strict JSON or breaks the schema; names every field that is wrong.
    """
    try:
        return parse_record(body, model)
    except ValueError as error:
        raise Refused(422, str(error)) from error


def documented(model: type[Record], *, many: bool = False) -> dict[str, Any]:
    """The request body of a route for the OpenAPI page, whose bodies are parsed by hand;
    `add_schemas` puts the schemas there."""
    reference = {"$ref": f"#/components/schemas/{model.__name__}"}
    schema = {"oneOf": [reference, {"type": "array", "items": reference}]} if many else reference
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}


def add_schemas(description: dict[str, Any], *models: type[Record]) -> None:
    """Put the schemas of records, and those that they use, into an OpenAPI description."""
    _, definitions = models_json_schema(
        [(model, "validation") for model in models], ref_template="#/components/schemas/{model}"
    )
    components = description.setdefault("components", {})
    components["schemas"] = definitions["$defs"] | components.get("schemas", {})
