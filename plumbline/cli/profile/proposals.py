"""`plumbline profile rubric proposals`: clauses that people had to decide on often, and what became
of the proposals to revise them."""

from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Literal

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, opened, rubric_of
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
    proposals: tuple[RubricRevision, ...] = ()
    if layout.has_feedback:
        with opened(layout) as store:
            proposals = Proposals(store.database).all()
    if not proposals:
        typer.echo(f"no proposal yet for profile {layout.profile}")
    for proposal in proposals:
        closed = (
            ""
            if proposal.closed_at is None
            else (
                f" by {printable(proposal.by or '')}, {proposal.closed_at:%Y-%m-%d}:"
                f" {printable(' '.join((proposal.reason or '').split()))}"
            )
        )
        counted = f"{len(proposal.adjudications)} decisions, {len(proposal.cases)} failures"
        typer.echo(
            f"{proposal.id}  {proposal.rubric} {proposal.clause}: {counted}, opened"
            f" {proposal.opened_at:%Y-%m-%d},"
            f" {proposal.status}{closed}"
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
        proposal = next(
            (candidate for candidate in Proposals(store.database).all() if candidate.id == id), None
        )
        decisions = Adjudications(store.database).all()
    if proposal is None:
        raise DataError(
            f"there is no proposal {id}; `plumbline profile rubric proposals list` shows them"
        )
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
            f"wrote {output}; rewrite the clause `{proposal.clause}`, then `plumbline profile"
            " rubric check"
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
    typer.echo(
        f"write the new version: `plumbline profile rubric proposals draft {id} --output FILE`"
    )


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
