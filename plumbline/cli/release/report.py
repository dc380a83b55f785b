"""`plumbline release report`: the page about a release candidate, made again from the store."""

from pathlib import Path
from typing import Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.cli.release.decisions import DecisionArgument, decision_named
from plumbline.schema.kinds import REPORT_PAGE_FILE
from plumbline.storage.artifacts import ArtifactStore, write_atomically


def report(
    decision: DecisionArgument,
    output: Annotated[Path, typer.Option("--output", help="File to write.")] = Path(
        REPORT_PAGE_FILE
    ),
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Write the page about a release candidate: one HTML file that loads nothing. It quotes
    held-out prompts: keep it private."""
    from plumbline.reports.release.evidence import read_evidence
    from plumbline.reports.release.page import release_page
    from plumbline.reports.release.sentences import HEADLINES

    layout = layout_of(home, profile)
    settings = profile_of(layout)
    store = ArtifactStore(layout.store)
    evidence = read_evidence(
        store,
        decision_named(decision, store, settings),
        profile=settings.name,
        signoff=settings.signoff,
    )
    write_atomically(output, release_page(evidence).encode())
    typer.echo(
        f"{output}: {HEADLINES[evidence.decision.verdict].lower()}, {len(evidence.cases)}"
        " failure cases"
    )
