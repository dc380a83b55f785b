"""`plumbline report`: the page about a release candidate, made again from the store."""

from pathlib import Path
from typing import Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.cli.release.signing import DecisionArgument, decision_named
from plumbline.storage.artifacts import ArtifactStore, write_atomically


def add_to(app: typer.Typer) -> None:
    """Add the command to the command line."""

    @app.command()
    def report(
        decision: DecisionArgument,
        output: Annotated[Path, typer.Option("--output", help="File to write.")] = Path(
            "report.html"
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
        found = profile_of(layout)
        store = ArtifactStore(layout.store)
        evidence = read_evidence(
            store, decision_named(decision, store, found), profile=found.name, signoff=found.signoff
        )
        write_atomically(output, release_page(evidence).encode())
        typer.echo(
            f"{output}: {HEADLINES[evidence.decision.verdict].lower()}, {len(evidence.cases)}"
            " failure cases"
        )
