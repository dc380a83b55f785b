"""`plumbline rubric proposals`: clauses that people had to decide on often, and what became of the
proposals to revise them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, opened
from plumbline.cli.people.adjudicate import rubric_of
from plumbline.data.adjudication.decisions import Adjudications
from plumbline.data.adjudication.newest_queue import latest_adjudication_queue
from plumbline.data.adjudication.rubric_revisions import Proposals, RubricRevision, draft_revision
from plumbline.errors import ArtifactNotFound, DataError
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import printable

app = typer.Typer(
    no_args_is_help=True, help="Proposals to revise a clause that people had to decide on often."
)

IdArgument = Annotated[int, typer.Argument(metavar="ID", help="Number of the proposal.")]
ByOption = Annotated[str, typer.Option("--by", help="Name of who decides.")]
ReasonOption = Annotated[str, typer.Option("--reason", help="Why.")]


@app.command("list")
def list_proposals(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """Every proposal, the oldest first."""
    layout = layout_of(home, profile)
    found: tuple[RubricRevision, ...] = ()
    if layout.has_feedback:
        with opened(layout) as store:
            found = Proposals(store.database).all()
    if not found:
        typer.echo(f"no proposal yet for profile {layout.profile}")
    for one in found:
        closed = (
            ""
            if one.closed_at is None
            else (
                f" by {printable(one.by or '')}, {one.closed_at:%Y-%m-%d}:"
                f" {printable(' '.join((one.reason or '').split()))}"
            )
        )
        counted = f"{len(one.adjudications)} decisions, {len(one.cases)} failures"
        typer.echo(
            f"{one.id}  {one.rubric} {one.clause}: {counted}, opened {one.opened_at:%Y-%m-%d},"
            f" {one.status}{closed}"
        )


@app.command()
def draft(
    id: IdArgument,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="File to write; left out: prints.")
    ] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """The next version of the rubric as YAML, headed by the decisions that ask for it."""
    layout = layout_of(home, profile)
    with opened(layout) as store:
        proposal = next((one for one in Proposals(store.database).all() if one.id == id), None)
        decisions = Adjudications(store.database).all()
    if proposal is None:
        raise DataError(f"there is no proposal {id}; `plumbline rubric proposals list` shows them")
    try:
        queue = {item.item: item for item in latest_adjudication_queue(layout)}
    except ArtifactNotFound as error:
        typer.echo(f"warning: the draft is without the texts of the items: {error}", err=True)
        queue = {}
    text = draft_revision(proposal, rubric_of(layout), decisions, queue)
    if output is None:
        typer.echo(text, nl=False)
    else:
        output.write_text(text, encoding="utf-8")
        typer.echo(
            f"wrote {output}; rewrite the clause `{proposal.clause}`, then `plumbline rubric check"
            f" {output}`"
        )


@app.command()
def accept(
    id: IdArgument,
    by: ByOption,
    reason: ReasonOption,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Accept a proposal: the clause will be rewritten in a new version of the rubric."""
    _close(layout_of(home, profile), id, "accepted", by, reason)
    typer.echo(f"write the new version: `plumbline rubric proposals draft {id} --output FILE`")


@app.command()
def decline(
    id: IdArgument,
    by: ByOption,
    reason: ReasonOption,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Decline a proposal: the clause stays as it is."""
    _close(layout_of(home, profile), id, "declined", by, reason)


def _close(
    layout: HomeLayout, id: int, status: Literal["accepted", "declined"], by: str, reason: str
) -> None:
    with opened(layout) as store:
        closed = Proposals(store.database).close(id, status, by, reason, datetime.now(UTC))
    typer.echo(
        f"proposal {closed.id} on {closed.rubric} {closed.clause}: {closed.status} by"
        f" {printable(closed.by or '')}"
    )
