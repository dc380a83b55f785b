"""`plumbline release recheck`: a decision made again from its recorded evidence."""

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.cli.release.decisions import DecisionArgument, decision_named
from plumbline.errors import LineageError
from plumbline.records import short
from plumbline.release.decision import Decision, recompute
from plumbline.schema.eval_report import EvalReport
from plumbline.schema.kinds import DECISION_FILE, HELD_OUT_EVALS, RELEASE_DECISION, REPORT_FILE
from plumbline.storage.artifacts import ArtifactStore


def recheck(
    decision: DecisionArgument,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Make a decision again from its evidence and compare. Exit code 3: it comes out
    otherwise."""
    layout = layout_of(home, profile)
    store = ArtifactStore(layout.store)
    folder, artifact = store.open(
        decision_named(decision, store, profile_of(layout)), kind=RELEASE_DECISION
    )
    recorded = Decision.from_json((folder / DECISION_FILE).read_bytes())
    evals, _ = store.open(artifact.parents[HELD_OUT_EVALS], kind=HELD_OUT_EVALS)
    report = EvalReport.from_json((evals / REPORT_FILE).read_bytes())
    again = recompute(recorded, report, [gate.gate for gate in recorded.gates])
    if again != recorded:
        raise LineageError(
            f"decision {short(decision)} says {recorded.verdict}, but its evidence gives"
            f" {again.verdict}: {again.summary}"
        )
    same = tuple(gate.gate for gate in recorded.gates) == profile_of(layout).gates
    known = (
        "its gates are those of the profile as it is now"
        if same
        else "the profile has other gates now"
    )
    typer.echo(
        f"{recorded.verdict}: the same again from {len(recorded.gates)} gates and"
        f" {len(recorded.checks)} checks; {known}"
    )
