"""What the demo prints at the end: per slice reference against aligned, the gates, the decision, and where to look next."""

import dagster as dg
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plumbline.artifacts import Artifact
from plumbline.evaluation.metrics import METRICS
from plumbline.evaluation.report import Comparison, EvalReport
from plumbline.evaluation.reward_accuracy import RewardAccuracy
from plumbline.release.decision import Decision
from resources.home import Home

_COLOURS = {"pass": "green", "release": "green", "fail": "red", "reject": "red", "inconclusive": "yellow", "hold": "yellow", "error": "red"}
_METRICS = ("harmful_compliance", "over_refusal", "correctness", "utility", "kl")


def print_summary(console: Console, instance: dg.DagsterInstance, home: Home, recipe: str, seconds: float) -> None:
    """Print the newest evals, decision and digests of one recipe."""
    store = home.store()
    digest = _newest(instance, "release_decision", recipe)
    folder, found = store.open(digest, kind="release_decision")
    decision = Decision.from_json((folder / "decision.json").read_bytes())
    evals_folder, evals = store.open(found.parents["held_out_evals"], kind="held_out_evals")
    report = EvalReport.from_json((evals_folder / "report.json").read_bytes())
    console.print(_slices(report))
    console.print(_gates(decision))
    accuracy = RewardAccuracy.from_json((evals_folder / "reward_model.json").read_bytes())
    console.print(escape(accuracy.sentence()))
    colour = _COLOURS[decision.verdict]
    console.print(f"\nDecision for recipe [bold]{recipe}[/bold]: [bold {colour}]{escape(decision.summary.splitlines()[0])}[/bold {colour}]\n")
    _where_next(console, home, digest, found, evals, seconds)


def _newest(instance: dg.DagsterInstance, asset: str, partition: str) -> str:
    records_filter = dg.AssetRecordsFilter(asset_key=dg.AssetKey(asset), asset_partitions=[partition])
    record = instance.fetch_materializations(records_filter, limit=1).records[0]
    if record.asset_materialization is None:
        raise RuntimeError(f"record {record.storage_id} of {asset} is not a materialization")
    return str(record.asset_materialization.metadata["artifact"].value)


def _slices(report: EvalReport) -> Table:
    table = Table(title=f"Held-out slices, reference -> aligned [{report.level:.0%} interval]", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    shown = [metric for metric in _METRICS if any(metric in values for values in report.slices.values())]
    table.add_column("slice", no_wrap=True)
    for metric in shown:
        table.add_column(metric.replace("_", " "), justify="right", no_wrap=True)
    for name, values in report.slices.items():
        if name not in report.pooled or len(report.pooled[name]) < len(report.slices):
            table.add_row(f"[bold]{name}[/bold]" if name in report.pooled else name, *(_cell(metric, values.get(metric)) for metric in shown))
    return table


def _cell(metric: str, comparison: Comparison | None) -> str:
    if comparison is None:
        return ""
    aligned, reference = comparison.aligned, comparison.reference
    if METRICS[metric].kind == "proportion":
        before = "" if reference is None else f"{reference.value:.0%} -> "
        return f"{before}{aligned.value:.0%} [dim]\\[{aligned.low * 100:.1f}, {aligned.high * 100:.1f}][/dim]"
    return f"{'' if reference is None else f'{reference.value:.2f} -> '}{aligned.value:.2f}"


def _gates(decision: Decision) -> Table:
    table = Table(title="Gates", title_justify="left", box=SIMPLE_HEAD, padding=(0, 1))
    for column in ("gate", "verdict", "why"):
        table.add_column(column)
    for gate in decision.gates:
        colour = _COLOURS[gate.verdict]
        table.add_row(gate.gate.id, f"[{colour}]{gate.verdict}[/{colour}]", escape(gate.explanation))
    return table


def _where_next(console: Console, home: Home, digest: str, found: Artifact, evals: Artifact, seconds: float) -> None:
    policy = found.parents["aligned_policy"]
    evals_folder = home.layout.store / "trees" / evals.tree.removeprefix("sha256:")
    console.print(f"policy    {policy}\ndecision  {digest}\nprofile   {home.profile().digest()}", highlight=False)
    console.print(
        f"\nLook next:\n"
        f"  make ui                                     assets, checks and runs on http://127.0.0.1:3000, MLflow on http://127.0.0.1:5000\n"
        f"  .venv/bin/plumbline trace policy {policy[7:19]}   every label, rule and number behind it, verified again\n"
        f"  {evals_folder}\n"
        f"                                              the report and every scored response\n"
        f"\n{seconds:.0f} s",
        highlight=False,
        soft_wrap=True,
    )
