"""`plumbline feedback import`, `inbox`, `quarantine` and `history`: files in, and what became of
their rows."""

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumbline.cli.options import (
    ApprovedBy,
    HomeOption,
    ProfileOption,
    RubricOption,
    layout_of,
    opened,
    rubric_of,
)
from plumbline.data.formats.import_report import Attribution, ImportReport, shown
from plumbline.data.formats.reading import FeedbackFormat, feedback_files, read_feedback
from plumbline.errors import DataError, InvalidFeedback
from plumbline.records import canonical_json

if TYPE_CHECKING:
    from plumbline.data.store.deliveries import Delivery
    from plumbline.data.store.events import FeedbackStore
    from plumbline.data.store.inbox import Collected
    from plumbline.data.store.spool import ParsedUpload

DeliveryOption = Annotated[
    int | None, typer.Option("--delivery", min=1, help="Number of a delivery.", show_default="all")
]


FilesArgument = Annotated[
    list[Path],
    typer.Argument(
        exists=True,
        help="Files (.jsonl, .jsonl.gz, .jsonl.zst, .json, .parquet), or folders of them.",
    ),
]
FormatOption = Annotated[
    FeedbackFormat,
    typer.Option(
        "--format",
        help=(
            "What the rows say; jsonl: Plumbline's own events, in any of the five kinds of files."
        ),
    ),
]
BatchOption = Annotated[
    str | None,
    typer.Option(
        "--batch",
        help="Close everything as one batch of this name. Left out: the events wait for a batch.",
    ),
]
LimitOption = Annotated[
    int | None, typer.Option("--limit", min=1, help="Rows to take from the start of each file.")
]
StrictOption = Annotated[
    bool, typer.Option("--strict", help="Add nothing when any row is rejected.")
]
ConsentOption = Annotated[
    str,
    typer.Option(
        "--consent-version", help="Consent version of public data; own events carry theirs."
    ),
]
SyntheticOption = Annotated[
    bool,
    typer.Option("--synthetic", help="A model judged, and no human; own events say so themselves."),
]


def import_files(
    files: FilesArgument,
    format: FormatOption,
    batch: BatchOption = None,
    limit: LimitOption = None,
    strict: StrictOption = False,
    rubric: RubricOption = None,
    consent: ConsentOption = "public-dataset",
    approved_by: ApprovedBy = "unapproved",
    synthetic: SyntheticOption = False,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Import feedback files; every row is accepted or quarantined with a reason, and the same file
    again changes nothing."""
    from plumbline.data.store.deliveries import Deliveries

    layout = layout_of(home, profile)
    attribution = Attribution(
        rubric=rubric or rubric_of(layout).label,
        consent_version=consent,
        approved_by=approved_by,
        synthetic=synthetic,
    )
    with ExitStack() as stack:
        uploads = []
        for path in (file for root in files for file in feedback_files(root.resolve())):
            uploads.append(stack.enter_context(_parsed(path, format, attribution, limit)))
            _say_report(uploads[-1].report)
        if not any(upload.report.accepted for upload in uploads):
            raise InvalidFeedback(
                f"no row could be accepted as {format} feedback; see the reasons above, and check"
                " --format"
            )
        rejected = sum(upload.report.rows_in - upload.report.accepted for upload in uploads)
        if strict and rejected:
            raise InvalidFeedback(f"{rejected} rows were rejected; with --strict nothing was added")
        with opened(layout) as store:
            say_deliveries(
                Deliveries(store).deliver_uploads(uploads, datetime.now(UTC), batch), store
            )
            if batch is not None:
                closed = next(known for known in store.batches() if known.id == batch)
                typer.echo(f"batch {closed.id}: {closed.events} events, {closed.digest}")


@contextmanager
def _parsed(
    path: Path, format: FeedbackFormat, attribution: Attribution, limit: int | None
) -> "Iterator[ParsedUpload]":
    """A file parsed to its end.

    Raises:
        DataError: If the file changed meanwhile.
    """
    from plumbline.data.readers.files import read_rows
    from plumbline.data.readers.rows import file_digest
    from plumbline.data.store.spool import ParsedUpload

    digest = file_digest(path)
    rows = read_feedback(read_rows(path), format, attribution, limit)
    with ParsedUpload(path.name, "file", rows, digest) as upload:
        if file_digest(path) != digest:
            raise DataError(
                f"{path}: changed while it was read; import it again when it is complete"
            )
        yield upload


def inbox(
    once: Annotated[
        bool, typer.Option("--once", help="Look once and end; left out: watch until interrupted.")
    ] = False,
    settle: Annotated[
        float,
        typer.Option(
            "--settle",
            min=0,
            help=(
                "Seconds for which a file without a `.ready` marker must not have been written to."
            ),
        ),
    ] = 10.0,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Take in the files of the inbox, Plumbline's own events; each ends in `done` or, with its
    reason, in `refused`."""
    from watchfiles import watch

    from plumbline.data.store.inbox import collect

    layout = layout_of(home, profile)
    layout.inbox.mkdir(parents=True, exist_ok=True)
    with opened(layout) as store:
        _say_collected(collect(layout.inbox, store, datetime.now(UTC), settle), store, waiting=once)
        if once:
            return
        typer.echo(f"watching {layout.inbox}")
        # Ctrl-C is how this ends, also in the middle of a file: a file that was not taken in whole
        # is taken in the next time.
        with suppress(KeyboardInterrupt):
            for _ in watch(
                layout.inbox,
                recursive=False,
                yield_on_timeout=True,
                rust_timeout=max(1000, int(settle * 500)),
                raise_interrupt=False,
            ):
                _say_collected(
                    collect(layout.inbox, store, datetime.now(UTC), settle), store, waiting=False
                )


def quarantine(
    delivery: DeliveryOption = None,
    export: Annotated[
        Path | None,
        typer.Option(
            "--export",
            help="Write the rows as JSON Lines to this file, with their text, to correct them.",
        ),
    ] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """List the rows that were not taken in: file, row, place and reason."""
    from plumbline.data.store.deliveries import Deliveries

    layout = layout_of(home, profile)
    if not layout.has_feedback:
        typer.echo("no row is quarantined")
        return
    count = 0
    with opened(layout) as store, ExitStack() as stack:
        written = None if export is None else stack.enter_context(export.open("wb"))
        for row in Deliveries(store).quarantined(delivery):
            count += 1
            if written is None:
                typer.echo(
                    f"delivery {row.delivery}: {shown(row.source)}: row {row.row}, byte"
                    f" {row.offset}, {row.length} bytes: {shown(row.reason)}"
                )
                continue
            text = row.body.decode(errors="backslashreplace")
            named = {
                "delivery": row.delivery,
                "source": row.source,
                "row": row.row,
                "offset": row.offset,
                "length": row.length,
                "reason": row.reason,
            }
            written.write(
                canonical_json(
                    {
                        **named,
                        "event_id": row.event_id,
                        "digest": row.digest,
                        "text": text,
                        "whole": len(row.body) == row.length,
                    }
                )
            )
    if export is not None:
        typer.echo(
            f"{count} rows written to {export}; correct their text and import it as a new file"
        )
    elif not count:
        typer.echo("no row is quarantined")


def history(
    event: Annotated[
        str | None,
        typer.Option("--event", help="Id of one event: how it came in, and where it is now."),
    ] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """How the events came in: every delivery with its counts."""
    from plumbline.data.store.deliveries import Deliveries

    layout = layout_of(home, profile)
    if not layout.has_feedback:
        typer.echo("no feedback yet")
        return
    with opened(layout) as store:
        deliveries = Deliveries(store)
        if event is None:
            for delivery in deliveries.history():
                typer.echo(_sentence(delivery))
            return
        if not deliveries.holds(event):
            raise DataError(
                f"event '{event}': is not in the feedback store; take the id from `plumbline audit"
                " trace`"
                " or a batch"
            )
        delivered, batch = deliveries.of_event(event), deliveries.batch_of(event)
        typer.echo(
            "came in before deliveries were recorded" if delivered is None else _sentence(delivered)
        )
        if batch is None:
            typer.echo("waits for a batch; the next one to close takes it")
        else:
            typer.echo(
                f"is in batch {batch}; from there it enters the next version of the preference"
                " data, unless a rule sets it aside with its reason"
            )


def say_deliveries(deliveries: "Sequence[Delivery]", store: "FeedbackStore") -> None:
    """Say what became of deliveries."""
    accepted, duplicate = (
        sum(delivery.accepted for delivery in deliveries),
        sum(delivery.duplicate for delivery in deliveries),
    )
    typer.echo(
        f"{accepted} added, {duplicate} were there already; {store.open_events()[0]} events wait"
        " for a batch"
    )
    quarantined = sum(delivery.quarantined for delivery in deliveries)
    if quarantined:
        typer.echo(f"{quarantined} rows are quarantined: see `plumbline feedback quarantine`")


def _say_report(report: ImportReport) -> None:
    typer.echo(
        f"{shown(report.source)}: {report.rows_in} rows, {report.accepted} accepted,"
        f" {report.rows_in - report.accepted} rejected"
    )
    for reason, count in report.rejected.items():
        rows = ", ".join(str(row) for row in report.examples[reason]) + (
            ", ..." if count > len(report.examples[reason]) else ""
        )
        typer.echo(f"  {count} rejected: {shown(reason)} (rows {rows})", err=True)


def _say_collected(collected: "Collected", store: "FeedbackStore", waiting: bool) -> None:
    for delivery in collected.deliveries:
        typer.echo(_sentence(delivery))
    for name, reason in collected.refused.items():
        typer.echo(f"{name}: refused: {shown(reason)}", err=True)
    if waiting:
        for name, reason in collected.waiting.items():
            typer.echo(f"{name}: waits: {shown(reason)}")
    if waiting or collected.deliveries:
        typer.echo(f"{store.open_events()[0]} events wait for a batch")


def _sentence(delivery: "Delivery") -> str:
    counts = (
        f"{delivery.rows} rows: {delivery.accepted} accepted, {delivery.duplicate} duplicate,"
        f" {delivery.quarantined} quarantined"
    )
    return (
        f"delivery {delivery.id}, {delivery.received_at:%Y-%m-%d %H:%M} UTC, {delivery.way},"
        f" {shown(delivery.source)}, {delivery.digest[7:19]}: {counts}"
    )
