"""What the demo prints at the end: per slice reference against aligned, the gates, the decision,
and where to look next."""

import textwrap

import dagster as dg
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plumbline.release.decision import Decision
from plumbline.release.promotion import current_champion
from plumbline.reports.tables import check_rows, gate_rows, metrics_in
from plumbline.schema.eval_report import EVERYTHING, EvalReport, MetricComparison
from plumbline.schema.kinds import (
    ALIGNED_POLICY,
    DECISION_FILE,
    HELD_OUT_EVALS,
    RELEASE_DECISION,
    RELEASE_REPORT,
    REPORT_FILE,
    REWARD_MODEL_FILE,
)
from plumbline.schema.metrics import METRICS
from plumbline.storage.artifacts import Artifact
from resources.home import Home

_COLOURS = {
    "pass": "green",
    "release": "green",
    "fail": "red",
    "reject": "red",
    "inconclusive": "yellow",
    "hold": "yellow",
    "error": "red",
}
_METRICS = ("harmful_compliance", "over_refusal", "correctness", "utility", "kl")


def print_summary(
    console: Console, instance: dg.DagsterInstance, home: Home, recipe: str, seconds: float
) -> None:
    """Print the newest evals, decision and digests of one recipe."""
    from plumbline.evaluation.reward_models.accuracy import RewardAccuracy

    store = home.store()
    digest = _newest(instance, RELEASE_DECISION, recipe)
    folder, manifest = store.open(digest, kind=RELEASE_DECISION)
    decision = Decision.from_json((folder / DECISION_FILE).read_bytes())
    evals_folder, _ = store.open(manifest.parents[HELD_OUT_EVALS], kind=HELD_OUT_EVALS)
    report = EvalReport.from_json((evals_folder / REPORT_FILE).read_bytes())
    console.print(_slices(report))
    console.print(_gates(decision))
    accuracy = RewardAccuracy.from_json((evals_folder / REWARD_MODEL_FILE).read_bytes())
    console.print(escape(accuracy.sentence()))
    colour = _COLOURS[decision.verdict]
    console.print(
        f"\nDecision for recipe [bold]{recipe}[/bold]: [bold"
        f" {colour}]{escape(decision.summary.splitlines()[0])}[/bold {colour}]\n"
    )
    page = store.manifest(_newest(instance, RELEASE_REPORT, recipe))
    _where_next(console, home, digest, manifest, page=page, decision=decision, seconds=seconds)


def _newest(instance: dg.DagsterInstance, asset: str, partition: str) -> str:
    records_filter = dg.AssetRecordsFilter(
        asset_key=dg.AssetKey(asset), asset_partitions=[partition]
    )
    record = instance.fetch_materializations(records_filter, limit=1).records[0]
    if record.asset_materialization is None:
        raise RuntimeError(f"record {record.storage_id} of {asset} is not a materialization")
    return str(record.asset_materialization.metadata["artifact"].value)


def _slices(report: EvalReport) -> Table:
    table = Table(
        title=f"Held-out slices, reference -> aligned [{report.level:.0%} interval]",
        title_justify="left",
        box=SIMPLE_HEAD,
        padding=(0, 1),
    )
    shown = metrics_in(report, _METRICS)
    table.add_column("slice", no_wrap=True)
    for metric in shown:
        table.add_column(metric.replace("_", " "), justify="right", no_wrap=True)
    for name, values in report.slices.items():
        if _is_shown(name, report):
            table.add_row(
                f"[bold]{name}[/bold]" if name in report.pooled else name,
                *(_cell(metric, values.get(metric)) for metric in shown),
            )
    return table


def _is_shown(name: str, report: EvalReport) -> bool:
    """Every slice of its own, and variants only pooled over the slices that they were made from:
    the page has them all."""
    if name in report.pooled:
        return len(report.pooled[name]) < len(report.slices) and name != EVERYTHING
    return "." not in name


def _cell(metric: str, comparison: MetricComparison | None) -> str:
    if comparison is None:
        return ""
    aligned, reference = comparison.aligned, comparison.reference
    if METRICS[metric].kind == "proportion":
        before = "" if reference is None else f"{reference.value:.0%} -> "
        return (
            f"{before}{aligned.value:.0%} [dim]\\[{aligned.low * 100:.1f},"
            f" {aligned.high * 100:.1f}][/dim]"
        )
    return f"{'' if reference is None else f'{reference.value:.2f} -> '}{aligned.value:.2f}"


def _gates(decision: Decision) -> Table:
    table = Table(
        title="Gates and named checks", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1)
    )
    for column in ("gate or check", "verdict", "why"):
        table.add_column(column)
    for name, verdict, why, *_ in (*gate_rows(decision.gates), *check_rows(decision.checks)):
        # what passed is told in full on the page; here the eye should fall on what did not
        explanation = textwrap.shorten(why, 96, placeholder=" ...") if verdict == "pass" else why
        table.add_row(
            name, f"[{_COLOURS[verdict]}]{verdict}[/{_COLOURS[verdict]}]", escape(explanation)
        )
    return table


def _where_next(
    console: Console,
    home: Home,
    digest: str,
    manifest: Artifact,
    *,
    page: Artifact,
    decision: Decision,
    seconds: float,
) -> None:
    policy = manifest.parents[ALIGNED_POLICY]
    folder = home.layout.store / "trees" / page.tree.removeprefix("sha256:")
    champion = current_champion(home.ledger(), home.profile().name)
    console.print(
        f"policy    {policy}\ndecision  {digest}\nprofile   {home.profile().digest()}",
        highlight=False,
    )
    if decision.verdict == "release" and (champion is None or champion.decision != digest):
        console.print(
            "\nNot released yet: people sign first (docs/releasing.md).\n  .venv/bin/plumbline"
            f" release review {digest[7:19]}    the worst failure cases, and your verdict\n "
            f" .venv/bin/plumbline release approve {digest[7:19]}   with another key; the promotion"
            " follows by itself where `make ui` runs",
            highlight=False,
            soft_wrap=True,
        )
    console.print(
        "\nLook next:\n  make ui                                     assets, checks and runs on"
        f" http://127.0.0.1:3000, MLflow on http://127.0.0.1:5000\n  {folder}/report.html\n        "
        "                                      the report on this candidate, one page for the"
        f" browser\n  .venv/bin/plumbline audit trace policy {policy[7:19]}   every label, rule"
        f" and number behind it, verified again\n\n{seconds:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
