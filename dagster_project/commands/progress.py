"""Live progress of one Dagster run on a terminal: what runs, how far it is, what each stage
gave."""

import threading
import time

import dagster as dg
from rich.console import Console
from rich.markup import escape

POLL_SECONDS = 0.25
_SHOWN = ("training", "sampling", "verdict", "registered model", "dagster/row_count")


def follow(
    console: Console,
    instance: dg.DagsterInstance,
    run_id: str,
    done: threading.Event,
    partition: str,
) -> None:
    """Print the events of a run as they come, until `done` is set and nothing is left."""
    cursor: str | None = None
    started: dict[str, float] = {}
    checks: dict[bool, int] = {True: 0, False: 0}
    with console.status("starting") as status:
        while True:
            last_round = done.is_set()
            if instance.get_run_by_id(run_id) is not None:
                batch = instance.get_records_for_run(run_id, cursor=cursor)
                cursor = batch.cursor
                for record in batch.records:
                    message = _line(record.event_log_entry, started, checks, partition)
                    if message is not None and message[0]:
                        console.print(message[1])
                    elif message is not None:
                        status.update(message[1])
                if batch.has_more:
                    continue
            if last_round:
                return
            time.sleep(POLL_SECONDS)


def _line(
    entry: dg.EventLogEntry, started: dict[str, float], checks: dict[bool, int], partition: str
) -> tuple[bool, str] | None:
    """(whether the line stays, its markup), or None when the event says nothing to a person."""
    event = entry.dagster_event
    if event is None:
        if not entry.step_key:
            return None
        return False, f"{entry.step_key}  [dim]{escape(entry.user_message[:100])}[/dim]"
    step = event.step_key or ""
    if event.is_step_start:
        started[step] = entry.timestamp
        checks[True] = checks[False] = 0
        return False, f"{step} ..."
    if event.event_type == dg.DagsterEventType.ASSET_CHECK_EVALUATION:
        checks[event.asset_check_evaluation_data.passed] += 1
        return _failed_check(event.asset_check_evaluation_data)
    seconds = entry.timestamp - started.get(step, entry.timestamp)
    if event.event_type == dg.DagsterEventType.ASSET_MATERIALIZATION:
        where = step + (f" {partition}" if step == "feedback" else "")
        notes = escape(", ".join(_notes(event)))
        return True, f"  [green]done[/green]  {where:28s} {seconds:6.1f} s  {notes}"
    if event.is_step_success and checks[True] + checks[False]:
        passed = f"{checks[True]} of {checks[True] + checks[False]} checks passed"
        return True, f"  [green]done[/green]  {step:28s} {seconds:6.1f} s  {passed}"
    if event.is_step_failure:
        reason = escape(_failure(event).strip())
        return True, f"  [red]failed[/red] {step:27s} {seconds:6.1f} s  {reason}"
    return None


def _failed_check(evaluation: dg.AssetCheckEvaluation) -> tuple[bool, str] | None:
    if evaluation.passed:
        return None
    failed = (
        "[yellow]warning[/yellow]"
        if evaluation.severity is dg.AssetCheckSeverity.WARN
        else "[red]check failed[/red]"
    )
    lines = (evaluation.description or "").splitlines() or [""]
    more = f" (and {len(lines) - 1} more)" if len(lines) > 1 else ""
    name = f"{evaluation.asset_key.to_user_string()}: {evaluation.check_name}"
    return True, f"  {failed}  {name} {escape(lines[0])}{more}"


def _notes(event: dg.DagsterEvent) -> list[str]:
    metadata = event.step_materialization_data.materialization.metadata
    return [
        f"{metadata[key].value}{' rows' if key == 'dagster/row_count' else ''}"
        for key in _SHOWN
        if key in metadata
    ]


def _failure(event: dg.DagsterEvent) -> str:
    """What a failed step says: the description that its code gave, or the cause of the error."""
    error, given = event.step_failure_data.error, event.step_failure_data.user_failure_data
    if given is not None and given.description:
        return given.description
    cause = error.cause or error if error is not None else None
    return cause.message if cause is not None else "no message"
