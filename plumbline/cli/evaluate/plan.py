"""`plumbline evaluate plan`: how many held-out samples the gates of a profile need."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.errors import ArtifactNotFound, DataError
from plumbline.profile.profile import Profile
from plumbline.schema.kinds import HELD_OUT_EVALS, REPORT_FILE
from plumbline.storage.home import HomeLayout

if TYPE_CHECKING:
    from plumbline.release.sample_size import GatePlan
    from plumbline.schema.eval_report import EvalReport


def plan(
    power: Annotated[
        float,
        typer.Option(
            "--power",
            min=0.5,
            max=0.999,
            help="Probability with which a good policy is to pass a gate.",
        ),
    ] = 0.9,
    report: Annotated[
        Path | None,
        typer.Option(
            "--report",
            help="report.json of held-out evals whose values are taken for true.",
            show_default="the newest evals",
        ),
    ] = None,
    design: Annotated[
        float,
        typer.Option(
            "--design",
            min=1.0,
            help="Without a report: samples that say as much as one, because of clusters.",
        ),
    ] = 1.0,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Samples that each gate needs so that a good policy passes it, beside those that there
    are."""
    from plumbline.release.sample_size import plan_gates

    layout = layout_of(home, profile)
    settings = profile_of(layout)
    evals = _report_of(layout, settings, report)
    level = settings.evaluation.level if evals is None else evals.level
    basis = "assumed values" if evals is None else "the values of the eval report"
    typer.echo(f"Samples for {power:.0%} power at {level:.0%} intervals, for {basis}:")
    for planned in plan_gates(settings.gates, level, power, evals, design=design):
        typer.echo(f"  {planned}" if isinstance(planned, str) else f"  {_line(planned)}")


def _line(plan: "GatePlan") -> str:
    gate = plan.gate
    about = {
        "aligned": gate.metric,
        "difference": f"difference of {gate.metric}",
        "champion": f"{gate.metric} against the champion",
    }[gate.compare]
    rule = f"{about} on {gate.slice} {'<=' if gate.direction == 'at_most' else '>='} {gate.bound:g}"
    if plan.needed is None:
        return f"{gate.id}: {rule}: at {plan.assumed:.3g} no number of samples passes"
    worth = "" if plan.worth == 1 else f" ({plan.worth:.2f} samples say as much as one)"
    there = "" if plan.present is None else f", has {plan.present}"
    if plan.present is not None and plan.present < plan.needed:
        there += f": {plan.needed - plan.present} more"
    return f"{gate.id}: {rule}: needs {plan.needed} at {plan.assumed:.3g}{worth}{there}"


def _report_of(layout: HomeLayout, profile: Profile, path: Path | None) -> "EvalReport | None":
    """The named report, or that of the newest evals of the candidate recipe; None where there are
    none yet."""
    from pydantic import ValidationError

    from plumbline.lineage.newest import newest_artifact
    from plumbline.schema.eval_report import EvalReport
    from plumbline.storage.artifacts import ArtifactStore

    if path is None:
        store = ArtifactStore(layout.store)
        try:
            digest, _ = newest_artifact(store, HELD_OUT_EVALS, profile.digest(), profile.candidate)
        except ArtifactNotFound:
            return None
        path = store.open(digest, kind=HELD_OUT_EVALS)[0] / REPORT_FILE
    try:
        return EvalReport.from_json(path.read_bytes())
    except ValidationError as error:
        raise DataError(
            f"{path}: is no eval report: {error.errors()[0]['msg']}; give the report.json of a"
            " held_out_evals artifact"
        ) from error
