"""`plumbline feedback`: judgments in, and what became of them."""

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal

import typer
from pydantic import ValidationError, create_model

from plumbline.cli.feedback.files import say_deliveries
from plumbline.cli.options import (
    ApprovedBy,
    HomeOption,
    ProfileOption,
    RubricOption,
    layout_of,
    opened,
    profile_of,
    rubric_of,
)
from plumbline.errors import InvalidFeedback
from plumbline.records import Record, canonical_json, sha256
from plumbline.schema.conversations import ResponseSource
from plumbline.schema.feedback import FeedbackEvent, Provenance
from plumbline.storage.home import HomeLayout

if TYPE_CHECKING:
    from plumbline.data.store.batches import Claim

Preferred = Literal["first", "second", "tie"]


JsonFile = Annotated[
    Path | None,
    typer.Option(
        "--json",
        help=(
            "Read one event as JSON from a file, or `-` for standard input, instead of from flags."
        ),
    ),
]
PreferredOption = Annotated[
    Preferred | None, typer.Option("--preferred", help="Which response is better.")
]
StrengthOption = Annotated[
    int,
    typer.Option(
        "--strength",
        min=0,
        max=3,
        help="0 negligible, 1 slightly, 2 better, 3 significantly better.",
    ),
]
AnnotatorOption = Annotated[
    str | None, typer.Option("--annotator", help="Pseudonym of who judged.")
]
PolicyOption = Annotated[
    str,
    typer.Option(
        "--policy", help="What produced the responses: a digest, a published name or `human`."
    ),
]
TemplateOption = Annotated[
    str, typer.Option("--chat-template", help="Digest or name of the chat template.")
]
ConsentOption = Annotated[
    str | None,
    typer.Option("--consent-version", help="Consent text that the annotator agreed to."),
]
LocaleOption = Annotated[str, typer.Option("--locale", help="BCP 47 tag, for example en or es.")]
SliceOption = Annotated[
    str, typer.Option("--slice", help="Evaluation slice that the item belongs to.")
]


def add(
    json_file: JsonFile = None,
    prompt: Annotated[str | None, typer.Option("--prompt", help="What the user said.")] = None,
    first: Annotated[str | None, typer.Option("--first", help="The first response.")] = None,
    second: Annotated[str | None, typer.Option("--second", help="The second response.")] = None,
    preferred: PreferredOption = None,
    strength: StrengthOption = 1,
    annotator: AnnotatorOption = None,
    policy: PolicyOption = "unknown",
    template: TemplateOption = "unknown",
    consent: ConsentOption = None,
    approved_by: ApprovedBy = "unapproved",
    locale: LocaleOption = "und",
    domain: Annotated[str, typer.Option("--domain")] = "unknown",
    slice_: SliceOption = "unsliced",
    rubric: RubricOption = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Add one judgment of two responses; its id is derived from its content."""
    layout = layout_of(home, profile)
    if json_file is not None:
        _store(_event_from_json(json_file, rubric, layout), layout)
        return
    _require(
        {
            "--prompt": prompt,
            "--first": first,
            "--second": second,
            "--preferred": preferred,
            "--annotator": annotator,
            "--consent-version": consent,
        }
    )
    source = ResponseSource(
        policy=policy, chat_template=template, role_format="conversation", decoder=None
    )
    provenance = Provenance(written_by=policy, filtered_by="none", approved_by=approved_by)
    fields = {
        "prompt": [{"role": "user", "content": prompt}],
        "responses": [{"text": text, "source": source.model_dump()} for text in (first, second)],
        "judgment": {
            "kind": "comparison",
            "preferred": {"first": 0, "second": 1, "tie": None, None: None}[preferred],
            "strength": strength,
        },
        "annotator": annotator,
        "provenance": provenance.model_dump(),
        "consent": {"scope": "training", "version": consent},
        "context": {"locale": locale, "domain": domain, "slice": slice_},
        "synthetic": False,
    }
    _store(_event(fields, "the flags", rubric, layout), layout)


def _require(options: Mapping[str, str | None]) -> None:
    missing = [name for name, value in options.items() if value is None]
    if missing:
        raise InvalidFeedback(
            f"an event needs {', '.join(missing)}; or give it whole with --json FILE"
        )


def _store(event: FeedbackEvent, layout: HomeLayout) -> None:
    """Put an event into the feedback store as a delivery of its own, and say so."""
    from plumbline.data.formats.import_report import ImportedRow
    from plumbline.data.store.deliveries import Deliveries

    body = event.to_json()
    with opened(layout) as store:
        delivery = Deliveries(store).deliver(
            "one judgment",
            "cli",
            [ImportedRow(1, 0, len(body), event)],
            sha256(body),
            datetime.now(UTC),
        )
        typer.echo(f"event {event.id}")
        say_deliveries([delivery], store)


def status(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """What waits for a batch, which batches were closed, and who took on their work."""
    layout = layout_of(home, profile)
    rule = profile_of(layout).batches
    if not layout.has_feedback:
        typer.echo(f"no feedback yet for profile {layout.profile} ({layout.feedback_db})")
        return
    with opened(layout) as store:
        count, oldest = store.open_events()
        waits = (
            ""
            if oldest is None
            else (
                "; the oldest has waited"
                f" {(datetime.now(UTC) - oldest).total_seconds() / 3600:.1f} h"
            )
        )
        typer.echo(
            f"open: {count} events{waits}. A batch closes at {rule.max_events} events or after"
            f" {rule.max_age_hours:g} h"
        )
        claims = {claim.digest: claim for claim in store.claims()}
        for batch in store.batches():
            claim = claims.pop(batch.digest, None)
            taken = "not requested yet" if claim is None else _taken(claim)
            typer.echo(
                f"batch {batch.id}: {batch.events} events, {batch.digest[7:19]}, closed"
                f" {batch.closed_at:%Y-%m-%d %H:%M}, {taken}"
            )
        for digest, claim in claims.items():
            typer.echo(f"set of batches {digest[7:19]}: {_taken(claim)}")


def _taken(claim: "Claim") -> str:
    return f"requested by {claim.claimant} at {claim.claimed_at:%Y-%m-%d %H:%M}"


def _event_from_json(path: Path, rubric: str | None, layout: HomeLayout) -> FeedbackEvent:
    from plumbline.data.readers.rows import parse_row

    name = "standard input" if str(path) == "-" else str(path)
    try:
        content = sys.stdin.buffer.read() if str(path) == "-" else path.read_bytes()
        fields = parse_row(content)
    except ValueError as error:
        raise InvalidFeedback(f"{name}: {error}") from error
    if not isinstance(fields, dict):
        raise InvalidFeedback(
            f"{name}: holds a {type(fields).__name__}, expected one JSON object; use `plumbline"
            " feedback import` for files of events"
        )
    return _event(fields, name, rubric, layout)


def _event(
    fields: dict[str, object], where: str, rubric: str | None, layout: HomeLayout
) -> FeedbackEvent:
    """An event with the id of its content; time and rubric are filled in when they are left out."""
    fields = {
        "rubric": rubric or fields.get("rubric") or rubric_of(layout).label,
        "time": datetime.now(UTC).isoformat(),
        **fields,
    }
    given = fields.pop("id", None)
    try:
        draft = _Draft.model_validate_json(canonical_json(fields))
    except ValidationError as error:
        problems = "; ".join(
            f"{'.'.join(str(part) for part in problem['loc'])}: {problem['msg']}"
            for problem in error.errors()
        )
        raise InvalidFeedback(f"{where}: {problems}") from error
    event = FeedbackEvent.create(**{name: getattr(draft, name) for name in _FIELDS})
    if given not in (None, event.id):
        raise InvalidFeedback(
            f"{where}: id {given} is not the digest of the content, which is {event.id}; leave the"
            " id out to have it derived"
        )
    return event


_FIELDS = {
    name: (field.annotation, field)
    for name, field in FeedbackEvent.model_fields.items()
    if name != "id"
}
_Draft: type[Record] = create_model("Event", __base__=Record, **_FIELDS)  # type: ignore[call-overload]
"""A feedback event before its id is known."""
