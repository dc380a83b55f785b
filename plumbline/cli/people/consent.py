"""`plumbline people consent`: withdrawals, what they taint, and the erasure of withdrawn text."""

import os
from collections import Counter
from collections.abc import Collection, Sequence
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated, get_args

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, opened
from plumbline.errors import DataError, LineageError
from plumbline.records import canonical_json, short
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import printable

if TYPE_CHECKING:
    from plumbline.lineage.descendants import Descendant, Descendants
    from plumbline.schema.feedback import Withdrawal, WithdrawalKind

app = typer.Typer(
    no_args_is_help=True, help="Withdraw consent, see what it taints, and erase withdrawn text."
)

By = Annotated[str, typer.Option("--by", help="Your name; it is recorded.")]
Reason = Annotated[str, typer.Option("--reason", help="Why; it is recorded.")]
Number = Annotated[
    int,
    typer.Argument(
        metavar="WITHDRAWAL_ID",
        help="Number of the withdrawal; `plumbline people consent list` shows it.",
    ),
]
AsJson = Annotated[
    bool, typer.Option("--json", help="The withdrawal and everything tainted, with full digests.")
]
MEANING = {
    "rebuild": "is made again without the events when the assets materialize next",
    "retrain": "has to be trained again on rebuilt data; it was not released",
    "retire": (
        "is or was released; it cannot unlearn, so that only another policy, trained without the"
        " events, can take its place"
    ),
    "repeat": "says something about a tainted model and has to be made again for its successor",
}
MOST_SHOWN = 20


@app.command()
def withdraw(
    by: By,
    reason: Reason,
    person: Annotated[
        str | None,
        typer.Option("--person", help="Pseudonym of somebody who judged, or who gave consent."),
    ] = None,
    event: Annotated[str | None, typer.Option("--event", help="Id of one event.")] = None,
    consent: Annotated[
        str | None,
        typer.Option("--consent", help="Version of a consent text that no longer holds."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Record nothing; only show what would be tainted.")
    ] = False,
    as_json: AsJson = False,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Withdraw consent, and list exactly what descends from the events that it concerns.

    From now on the events are set aside wherever training data are made. Nothing is deleted; see
    `plumbline people consent erase`.
    """
    from plumbline.data.consent.withdrawals import Withdrawals

    kind, subject = _subject({"person": person, "event": event, "consent": consent})
    layout = layout_of(home, profile)
    with opened(layout) as store:
        withdrawals = Withdrawals(store.database)
        known = len(withdrawals.all())
        record = withdrawals.draft if dry_run else withdrawals.withdraw
        withdrawal = record(kind, subject, by, reason, datetime.now(UTC))
        events = withdrawals.events(withdrawal)
    state = (
        "was recorded before"
        if withdrawal.id <= known
        else "would be recorded (--dry-run)"
        if dry_run
        else "recorded"
    )
    _report(withdrawal, events, layout, state, as_json=as_json)


@app.command()
def show(
    withdrawal: Number,
    as_json: AsJson = False,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """What descends from the events of a withdrawal today."""
    from plumbline.data.consent.withdrawals import Withdrawals

    layout = layout_of(home, profile)
    with opened(layout) as store:
        withdrawals = Withdrawals(store.database)
        record = withdrawals.get(withdrawal)
        events = withdrawals.events(record)
    _report(
        record,
        events,
        layout,
        f"recorded {record.withdrawn_at:%Y-%m-%d} by {record.by}: {record.reason}",
        as_json=as_json,
    )


@app.command("list")
def list_withdrawals(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """Every withdrawal with its number, who recorded it and why."""
    from plumbline.data.consent.withdrawals import Withdrawals

    layout = layout_of(home, profile)
    if not layout.has_feedback:
        typer.echo(
            f"no feedback yet for profile {layout.profile} ({layout.feedback_db}), and so nothing"
            " to withdraw"
        )
        return
    with opened(layout) as store:
        withdrawals = Withdrawals(store.database)
        erased = withdrawals.erased()
        for withdrawal in withdrawals.all():
            gone = (
                f"; text of {erased[withdrawal.id]} events erased" if erased[withdrawal.id] else ""
            )
            typer.echo(
                printable(
                    f"{withdrawal.id}: {withdrawal.kind} {withdrawal.subject},"
                    f" {withdrawal.withdrawn_at:%Y-%m-%d %H:%M} by"
                    f" {withdrawal.by}: {withdrawal.reason}{gone}"
                )
            )
        if not withdrawals.all():
            typer.echo("nothing was withdrawn")


@app.command("erase")
def erase_text(
    withdrawal: Number,
    by: By,
    reason: Reason,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Erase the text of withdrawn events from the feedback store, the artifact store and the DVC
    caches. This cannot be undone.

    Ids and digests stay, so that batches and lineages still verify. Weights are not touched: they
    keep what they learned.
    """
    from plumbline.data.consent.erasure import erase
    from plumbline.data.consent.withdrawals import Withdrawals

    if not by.strip() or not reason.strip():
        raise DataError("an erasure is recorded with a name and a reason; neither may be empty")
    layout = layout_of(home, profile)
    with opened(layout) as store:
        done = erase(
            Withdrawals(store.database).get(withdrawal),
            store.database,
            layout.root,
            by.strip(),
            reason.strip(),
            datetime.now(UTC),
        )
    typer.echo(
        f"withdrawal {withdrawal}: the text of {done.events} events and of {done.rows} quarantined"
        " rows is erased from the feedback store"
    )
    typer.echo(
        f"{len(done.trees)} trees of the artifact store and {done.objects} files of DVC were"
        " removed; their digests stay"
    )
    for tree in done.trees:
        typer.echo(f"  erased: {tree}")
    if done.batches:
        typer.echo(
            "materialize these partitions of feedback again, then preference_data:"
            f" {', '.join(done.batches)}"
        )
    if done.left:
        _warn_of(done.left)
    typer.echo(
        "Copies and backups of these folders and of the database are not reached, and weights keep"
        " what they learned."
    )


def _warn_of(left: Sequence[str]) -> None:
    """Name the places where erased text still stands."""
    typer.echo(
        f"{len(left)} places still hold one of the texts, because another event has it"
        " too, or because Plumbline may not change them:",
        err=True,
    )
    for path in left[:MOST_SHOWN]:
        typer.echo(f"  {printable(path)}", err=True)
    if len(left) > MOST_SHOWN:
        typer.echo(f"  and {len(left) - MOST_SHOWN} more", err=True)
    if any(f"{os.sep}dagster{os.sep}history{os.sep}" in path for path in left):
        typer.echo(
            "Dagster's history shows a few rows of the data that its runs made; `dagster run"
            " delete RUN_ID` removes a run from it.",
            err=True,
        )


def _subject(given: "dict[WithdrawalKind, str | None]") -> "tuple[WithdrawalKind, str]":
    named = [(kind, subject) for kind, subject in given.items() if subject is not None]
    if len(named) != 1:
        raise DataError(
            "a withdrawal has one subject: give --person, --event or --consent, and only one of"
            " them"
        )
    return named[0]


def _report(
    withdrawal: "Withdrawal",
    events: Collection[str],
    layout: HomeLayout,
    state: str,
    *,
    as_json: bool,
) -> None:
    """Print a withdrawal with what it taints.

    Raises:
        LineageError: If something could not be read, so that the list may lack artifacts.
    """
    from plumbline.lineage.descendants import descendants_of

    descendants = descendants_of(ArtifactStore(layout.store), events)
    if as_json:
        typer.echo(
            canonical_json(
                {
                    "withdrawal": withdrawal.model_dump(mode="json"),
                    "state": state,
                    **descendants.model_dump(mode="json"),
                }
            ),
            nl=False,
        )
    else:
        typer.echo(
            printable(
                f"withdrawal {withdrawal.id}: {withdrawal.kind} {withdrawal.subject}; {state}"
            )
        )
        if events:
            typer.echo(f"{len(events)} events in the feedback store are concerned")
        else:
            typer.echo(
                "no event in the feedback store is concerned; check the spelling. Events that"
                " arrive later will be"
            )
        _say_what(descendants, layout)
    if descendants.unread:
        raise LineageError(
            f"{len(descendants.unread)} records could not be read, so that this list may not be"
            " complete:\n" + "\n".join(descendants.unread)
        )


def _say_what(descendants: "Descendants", layout: HomeLayout) -> None:
    from plumbline.lineage.descendants import Action

    if not descendants.tainted:
        typer.echo(f"nothing in {layout.store} descends from them")
        return
    counts = Counter(row.action for row in descendants.tainted)
    for action in get_args(Action):
        if counts[action]:
            typer.echo(f"{action}: {counts[action]}. Each {MEANING[action]}")
            for row in descendants.tainted:
                if row.action == action:
                    typer.echo(f"  {_described(row, layout)}")


def _described(row: "Descendant", layout: HomeLayout) -> str:
    from plumbline.lineage.materializations import read_materializations

    where = {
        production.partition for production in read_materializations(layout.store, row.artifact)
    } - {None}
    partition = f"[{', '.join(sorted(name for name in where if name))}]" if where else ""
    return printable(
        f"{row.kind}{partition} {short(row.artifact)}"
        + (f"  names {row.events} of the events" if row.events else "")
    )
