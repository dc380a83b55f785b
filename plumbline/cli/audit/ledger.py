"""`plumbline audit ledger`: what was opened, signed, routed and promoted, in order, and whether
anything of it was changed."""

import re
from typing import Annotated

import typer

from plumbline.cli.options import HomeOption, layout_of
from plumbline.lineage.ledger import Ledger
from plumbline.records import canonical_json
from plumbline.text.unsafe_characters import printable

app = typer.Typer(
    no_args_is_help=True,
    help="The append-only record of vault openings, signatures, routes and promotions.",
)

DISAGREES = 3


@app.command()
def show(
    kind: Annotated[
        str | None,
        typer.Option("--kind", help="Only entries of this kind, for example `approval`."),
    ] = None,
    last: Annotated[
        int | None, typer.Option("--last", min=1, help="Only the last so many.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="The entries whole, as JSON.")] = False,
    home: HomeOption = None,
) -> None:
    """Entries in their order."""
    ledger = Ledger(layout_of(home).ledger)
    entries = ledger.entries(kind)[-(last or 0) :]
    if as_json:
        typer.echo(canonical_json([entry.model_dump(mode="json") for entry in entries]), nl=False)
        return
    if not entries:
        typer.echo(
            f"{ledger.path}: nothing was recorded"
            + (f" of kind {printable(kind)}" if kind else " yet")
        )
    for entry in entries:
        details = ", ".join(
            f"{name} {_brief(value)}"
            for name, value in entry.body.items()
            if value not in (None, {}, [])
        )
        typer.echo(
            printable(
                f"{entry.sequence:>5}  {entry.recorded_at[:16].replace('T', ' ')}  {entry.kind} "
                f" {_brief(entry.key)}: {details}"
            )
        )


@app.command()
def verify(
    head: Annotated[
        str | None,
        typer.Option(
            "--head",
            help="A head that was noted earlier: shows whether anything was cut off since.",
        ),
    ] = None,
    home: HomeOption = None,
) -> None:
    """Recompute the chain from the first entry to the last. Exit code 0: it holds; 3: it does not,
    and each finding says where."""
    ledger = Ledger(layout_of(home).ledger)
    findings = ledger.verify(head)
    for finding in findings:
        typer.echo(
            printable(
                f"- {finding.what}; expected {finding.expected or 'nothing'}, found"
                f" {finding.found or 'nothing'}"
            )
        )
    if findings:
        typer.echo(f"{len(findings)} findings: {findings[0].remedy}")
        raise typer.Exit(DISAGREES)
    count = len(ledger.entries())
    typer.echo(f"verified: {count} entries\nhead {ledger.head()}")
    if head is None:
        typer.echo(
            "note the head elsewhere: only against an earlier head does it show that entries were"
            " cut off at the end",
            err=True,
        )


def _brief(value: object) -> str:
    """A value on part of a line: digests shortened, lists by their items."""
    if isinstance(value, list):
        return (
            "["
            + ", ".join(_brief(item) for item in value[:6])
            + (f", and {len(value) - 6} more" if len(value) > 6 else "")
            + "]"
        )
    if isinstance(value, dict):
        return canonical_json(value).decode().strip()
    return re.sub(r"sha256:([0-9a-f]{12})[0-9a-f]{52}", r"\1", str(value))
