"""`make demo`: the whole chain of the profile in one process, with live progress and a summary for people."""

import contextlib
import sys
import threading
import time
import uuid
import warnings
from datetime import UTC, datetime

warnings.filterwarnings("ignore", module="dagster")

import dagster as dg  # noqa: E402 - the filter must stand before the import that warns
from rich.console import Console  # noqa: E402

from dagster_project.instance import prepare_instance  # noqa: E402
from dagster_project.progress import follow  # noqa: E402
from dagster_project.sensors import BATCH_TAG  # noqa: E402
from dagster_project.summary import print_summary  # noqa: E402
from plumbline.data.source import seed_feedback  # noqa: E402
from plumbline.errors import PlumblineError  # noqa: E402
from resources.home import Home  # noqa: E402


_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def main() -> int:
    """Run the chain; 0 when it came to a decision, 1 when a stage failed, 2 on wrong configuration."""
    console = Console(file=sys.stdout, width=None if sys.stdout.isatty() else 118)
    started = time.monotonic()
    home = Home.from_environment()
    try:
        profile = home.profile()
        console.print(f"[bold]Plumbline[/bold] profile [bold]{profile.name}[/bold]: {profile.description}")
        instance = prepare_instance(home)
        seeded = seed_feedback(home.feedback(), profile, home.data_folder)
    except PlumblineError as error:
        console.print(f"[red]{error}[/red]")
        return 2
    console.print(f"Feedback store: {seeded.accepted} new events, {seeded.duplicate} known, {len(home.feedback().batches())} batches")
    for name, reasons in seeded.rejected.items():
        console.print(f"  {name}: refused " + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items())))
    from dagster_project.definitions import defs

    with instance:
        for batch in home.feedback().batches():
            if not _admitted(instance, batch.id) and not _run(console, defs, instance, "ingest_feedback", batch.id, {BATCH_TAG: batch.digest}, home):
                return 1
        if not _run(console, defs, instance, "align", profile.candidate, {}, home):
            return 1
        print_summary(console, instance, home, profile.candidate, time.monotonic() - started)
    return 0


def _admitted(instance: dg.DagsterInstance, batch: str) -> bool:
    records_filter = dg.AssetRecordsFilter(asset_key=dg.AssetKey("feedback"), asset_partitions=[batch])
    return bool(instance.fetch_materializations(records_filter, limit=1).records)


def _run(console: Console, defs: dg.Definitions, instance: dg.DagsterInstance, job: str, partition: str, tags: dict[str, str], home: Home) -> bool:
    """Execute one job while another thread shows its events."""
    if job == "ingest_feedback":
        home.feedback().claim(tags[BATCH_TAG], BATCH_TAG, datetime.now(UTC))
        instance.add_dynamic_partitions("feedback_batches", [partition])
    run_id = str(uuid.uuid4())
    done = threading.Event()
    watcher = threading.Thread(target=follow, args=(console, instance, run_id, done, partition), daemon=True)
    watcher.start()
    logs = home.layout.profile_folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        # What workers and libraries print goes to a file; the terminal shows the events.
        with (logs / "demo.log").open("a") as log, contextlib.redirect_stderr(log), contextlib.redirect_stdout(log):
            result = defs.resolve_job_def(job).execute_in_process(
                instance=instance, partition_key=partition, tags=tags, run_id=run_id, raise_on_error=False, run_config=_QUIET
            )
    finally:
        done.set()
        watcher.join()
    return result.success


if __name__ == "__main__":
    sys.exit(main())
