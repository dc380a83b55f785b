"""The chain of one profile, executed in this process: admit every batch, then align the candidate
recipe."""

import contextlib
import os
import threading
import time
import uuid
from datetime import UTC, datetime

import dagster as dg
from rich.console import Console

from assets.lineage.partitions import FEEDBACK_BATCHES
from dagster_project.automation.retraining import newest_digest
from dagster_project.automation.sensors import BATCH_TAG, batches_to_admit
from dagster_project.commands.instance import prepare_instance
from dagster_project.commands.progress import follow
from dagster_project.commands.sandbox_people import sign_for_the_sandbox
from dagster_project.commands.summary import print_summary
from dagster_project.definitions import defs
from plumbline.profile.models import ScratchModel
from plumbline.profile.sources import SandboxSource
from plumbline.release.candidate import decision_in
from plumbline.release.promotion import current_champion
from plumbline.schema.kinds import RELEASE_DECISION
from plumbline.storage.code_identity import ROOT
from resources.home import Home
from resources.launch import standby
from resources.launch.launcher import WORKER, worker_environment

_QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}


def run_chain(console: Console, home: Home) -> bool:
    """Seed the feedback store, close what is due, run the chain with live progress and print the
    summary; False when a stage failed.

    Raises:
        PlumblineError: If the profile's data cannot be read.
    """
    from plumbline.data.sources import seed_feedback

    started = time.monotonic()
    profile = home.profile()
    console.print(
        f"[bold]Plumbline[/bold] profile [bold]{profile.name}[/bold]: {profile.description}"
    )
    if isinstance(profile.model, ScratchModel):
        # Small jobs spend most of their time on imports; the second core can do them beforehand.
        standby.keep_ready(WORKER, worker_environment(profile.hardware), ROOT)
    seeded = seed_feedback(home.feedback(), profile, home.data_folder)
    home.feedback().close_batches(profile.batches, datetime.now(UTC))
    batches = home.feedback().batches()
    console.print(
        f"Feedback store: {seeded.accepted} new events, {seeded.duplicate} known, {len(batches)}"
        " batches"
    )
    for name, reasons in seeded.rejected.items():
        console.print(
            f"  {name}: refused "
            + ", ".join(f"{count} {reason}" for reason, count in sorted(reasons.items()))
        )
    with prepare_instance(home) as instance:
        for digest, batch in batches_to_admit(instance, home).items():
            home.feedback().claim(digest, BATCH_TAG, datetime.now(UTC))
            instance.add_dynamic_partitions(FEEDBACK_BATCHES, [batch.id])
            if not _run(console, instance, home, "ingest_feedback", batch.id, {BATCH_TAG: digest}):
                return False
        if not _run(console, instance, home, "align", profile.candidate, {}) or not _release(
            console, instance, home
        ):
            return False
        print_summary(console, instance, home, profile.candidate, time.monotonic() - started)
    return True


def _release(console: Console, instance: dg.DagsterInstance, home: Home) -> bool:
    """In a sandbox, have its made-up people sign a candidate that may be released, and promote it;
    False when that failed."""
    profile = home.profile()
    decision = newest_digest(instance, RELEASE_DECISION, profile.candidate)
    if (
        decision is None
        or not isinstance(profile.source, SandboxSource)
        or os.environ.get("PLUMBLINE_TRUST")
    ):
        return True
    champion = current_champion(home.ledger(), profile.name)
    if decision_in(home.store(), decision).verdict != "release" or (
        champion is not None and champion.decision == decision
    ):
        return True
    people = sign_for_the_sandbox(home, decision)
    console.print(
        f"  signed by {' and '.join(people)}, who are made up: for other profiles people review and"
        " approve with their own keys"
    )
    return _run(console, instance, home, "promote", profile.candidate, {})


def _run(
    console: Console,
    instance: dg.DagsterInstance,
    home: Home,
    job: str,
    partition: str,
    tags: dict[str, str],
) -> bool:
    """Execute one job while another thread shows its events."""
    run_id = str(uuid.uuid4())
    done = threading.Event()
    watcher = threading.Thread(
        target=follow, args=(console, instance, run_id, done, partition), daemon=True
    )
    watcher.start()
    logs = home.layout.profile_folder / "logs"
    logs.mkdir(parents=True, exist_ok=True)
    try:
        # What workers and libraries print goes to a file; the terminal shows the events.
        with (
            (logs / "demo.log").open("a") as log,
            contextlib.redirect_stderr(log),
            contextlib.redirect_stdout(log),
        ):
            result = defs.resolve_job_def(job).execute_in_process(
                instance=instance,
                partition_key=partition,
                tags=tags,
                run_id=run_id,
                raise_on_error=False,
                run_config=_QUIET,
            )
    finally:
        done.set()
        watcher.join()
    return result.success
