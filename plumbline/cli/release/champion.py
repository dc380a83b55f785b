"""`plumbline release list`: who is champion and since when."""

import json
import sys
from typing import Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plumbline.cli.options import HomeOption, ProfileOption, layout_of
from plumbline.lineage.ledger import Ledger
from plumbline.records import short
from plumbline.release.promotion import promotions
from plumbline.text.unsafe_characters import printable


def history(
    home: HomeOption = None,
    profile: ProfileOption = None,
    as_json: Annotated[bool, typer.Option("--json", help="Full digests, as JSON.")] = False,
) -> None:
    """Every promotion and rollback of the profile, the newest first; the first line is the
    champion."""
    layout = layout_of(home, profile)
    made = tuple(reversed(promotions(Ledger(layout.ledger), layout.profile)))
    if as_json:
        typer.echo(json.dumps([promotion.model_dump(mode="json") for promotion in made], indent=2))
        return
    if not made:
        typer.echo(f"nothing of profile '{layout.profile}' was released yet")
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for column in ("#", "what", "policy", "decision", "recipe", "released by"):
        table.add_column(column, no_wrap=True)
    for column in ("signed by", "reason"):
        table.add_column(column, overflow="fold")
    for promotion in made:
        way = "[bold red]OVERRIDE[/bold red]" if promotion.released_by == "override" else "gates"
        champion = " (champion)" if promotion is made[0] else ""
        row = (
            str(promotion.number),
            promotion.action + champion,
            short(promotion.policy),
            short(promotion.decision),
            promotion.recipe,
        )
        table.add_row(
            *row,
            way,
            *(escape(printable(text)) for text in (", ".join(promotion.by), promotion.reason)),
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)
