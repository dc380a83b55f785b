"""`plumbline people adjudicate`: decide what the votes did not, by name and with a reason."""

import re
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Annotated

import typer

from plumbline.cli.options import (
    HomeOption,
    ProfileOption,
    layout_of,
    opened,
    profile_of,
    rubric_of,
)
from plumbline.data.adjudication.decisions import (
    Adjudication,
    Adjudications,
    Choice,
    QueueItem,
    by_the_order,
    open_items,
)
from plumbline.data.adjudication.newest_queue import latest_adjudication_queue
from plumbline.data.adjudication.rubric_revisions import adjudicate
from plumbline.errors import DataError
from plumbline.records import canonical_json
from plumbline.schema.rubric import Rubric
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import printable

app = typer.Typer(no_args_is_help=True, help="Decide pairs that the votes do not decide.")

SHORT = 12
ItemArgument = Annotated[
    str,
    typer.Argument(
        metavar="ITEM",
        help="Name of an item of the queue, or the first 6 or more of its hex digits.",
    ),
]


@app.command("list")
def list_items(
    decided: Annotated[bool, typer.Option("--all", help="Show decided items as well.")] = False,
    as_json: Annotated[bool, typer.Option("--json", help="The items whole, as JSON.")] = False,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Items of the newest preference data that wait for a decision, the most disputed first."""
    layout = layout_of(home, profile)
    rubric = rubric_of(layout)
    queue = latest_adjudication_queue(layout)
    current = _current(layout, rubric)
    items = queue if decided else open_items(queue, current)
    items = tuple(sorted(items, key=lambda item: (item.agreement, item.item)))
    if as_json:
        typer.echo(canonical_json([item.model_dump(mode="json") for item in items]), nl=False)
        return
    typer.echo(
        f"{len(open_items(queue, current))} of {len(queue)} items wait for a decision under"
        f" {rubric.label}"
    )
    for item in items:
        made = current.get(item.item)
        state = item.why if made is None else f"{made.decision} by {printable(made.by)}"
        clauses = ", ".join(item.clauses) or "no clause named"
        typer.echo(
            f"  {item.item[7 : 7 + SHORT]}  {state}, {len(item.votes)} votes, {clauses}:"
            f" {_line(item.prompt[-1].content)}"
        )


@app.command()
def show(
    item: ItemArgument,
    first_breaks: Annotated[
        list[str] | None,
        typer.Option(
            "--first-breaks", help="Clause that the first response breaks; may be repeated."
        ),
    ] = None,
    second_breaks: Annotated[
        list[str] | None,
        typer.Option(
            "--second-breaks", help="Clause that the second response breaks; may be repeated."
        ),
    ] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """One item: prompt, both responses in blind order, votes, clauses, and what the rubric's order
    says."""
    layout = layout_of(home, profile)
    rubric = rubric_of(layout)
    queued = find(latest_adjudication_queue(layout), item)
    typer.echo(
        f"item {queued.item}\nrubric {queued.rubric}: {queued.why}, agreement"
        f" {queued.agreement:.0%}"
    )
    for message in queued.prompt:
        typer.echo(f"\n{message.role}:\n{_block(message.content)}")
    for name, text in zip(("first", "second"), queued.responses, strict=True):
        typer.echo(f"\n{name} response:\n{_block(text)}")
    typer.echo("\nvotes:")
    for vote in queued.votes:
        side = "tie" if vote.preferred is None else ("first", "second")[vote.preferred]
        details = [
            f"strength {vote.strength}" if vote.strength is not None else "from a ranking",
            vote.clause or "no clause named",
        ]
        typer.echo(
            f"  {vote.annotator}: {side}"
            f" ({', '.join(details)}){f': {_line(vote.reason)}' if vote.reason else ''}"
        )
    typer.echo("\nclauses, the strongest first:")
    for position, clause in enumerate(rubric.priorities, 1):
        typer.echo(
            f"  {position}. {clause}:"
            f" {rubric.clause(clause).name}{'  (named)' if clause in queued.clauses else ''}"
        )
    preferred = (
        by_the_order(queued, rubric)
        if not first_breaks and not second_breaks
        else rubric.prefer(first_breaks or (), second_breaks or ())
    )
    typer.echo(f"\nby the rubric's order: {_order(preferred)}")
    made = _current(layout, rubric).get(queued.item)
    if made is not None:
        typer.echo(
            f"decided: {made.decision} on {made.clause} by {printable(made.by)},"
            f" {made.decided_at:%Y-%m-%d %H:%M}: {_line(made.reason)}"
        )


@app.command()
def decide(
    item: ItemArgument,
    choose: Annotated[
        Choice,
        typer.Option(
            "--choose", help="Which response is better; `exclude` keeps the pair out of the data."
        ),
    ],
    clause: Annotated[str, typer.Option("--clause", help="The clause of the rubric that decides.")],
    by: Annotated[str, typer.Option("--by", help="Name of who decides.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Decide one item. The next preference data take the decision; deciding again replaces it, and
    both are kept."""
    layout = layout_of(home, profile)
    rubric = rubric_of(layout)
    queued = find(latest_adjudication_queue(layout), item)
    after = profile_of(layout).review.proposal_after
    with opened(layout) as store:
        made, proposals = adjudicate(
            store.database,
            queued,
            rubric,
            clause=clause,
            decision=choose,
            by=by,
            reason=reason,
            proposal_after=after,
            now=datetime.now(UTC),
        )
    typer.echo(
        f"decision {made.id}: {made.decision} on {made.clause} by {printable(made.by)}; materialize"
        " preference_data to apply it"
    )
    preferred = by_the_order(queued, rubric)
    if (
        choose in ("first", "second")
        and preferred is not None
        and choose != ("first", "second")[preferred]
    ):
        typer.echo(f"note: by the rubric's order: {_order(preferred)}", err=True)
    for proposal in proposals:
        count = len(proposal.adjudications)
        typer.echo(
            f"proposal {proposal.id}: {count} decisions on {proposal.clause}; see `plumbline"
            " profile rubric"
            f" proposals draft {proposal.id}`"
        )


def find(queue: Sequence[QueueItem], given: str) -> QueueItem:
    """The item that a name or its first hex digits name.

    Raises:
        DataError: If it names none or several.
    """
    prefix = given.lower().removeprefix("sha256:")
    if not re.fullmatch(r"[0-9a-f]{6,64}", prefix):
        raise DataError(
            f"'{given}' is not the name of an item; give at least 6 of its hex digits. `plumbline"
            " people adjudicate list` shows them"
        )
    matches = [item for item in queue if item.item.removeprefix("sha256:").startswith(prefix)]
    if len(matches) != 1:
        what = (
            "is not in the queue of the newest preference data"
            if not matches
            else f"names {len(matches)} items"
        )
        raise DataError(
            f"item {prefix}: {what}; `plumbline people adjudicate list --all` shows them"
        )
    return matches[0]


def _current(layout: HomeLayout, rubric: Rubric) -> dict[str, Adjudication]:
    if not layout.has_feedback:
        return {}
    with opened(layout) as store:
        return Adjudications(store.database).current(rubric.label)


def _order(preferred: int | None) -> str:
    return (
        "no clause decides between them"
        if preferred is None
        else f"the {('first', 'second')[preferred]} response"
    )


def _line(text: str) -> str:
    """The start of a text on one line, control characters as escapes."""
    line = printable(" ".join(text.split()))
    return line if len(line) <= 80 else line[:77] + "..."


def _block(text: str) -> str:
    return "\n".join(f"  {printable(line)}" for line in text.split("\n"))
