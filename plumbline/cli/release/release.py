"""`plumbline release`: who is champion and since when, back to an earlier one, and the registry set
back to the record."""

import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer
from rich.box import SIMPLE_HEAD
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from plumbline.audit.tree_view import short
from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.cli.release.signing import (
    DecisionArgument,
    KeyOption,
    ReasonOption,
    decision_named,
    signing_key,
)
from plumbline.errors import LineageError, PromotionRefused
from plumbline.lineage.ledger import Ledger
from plumbline.release.decision import Decision, recompute
from plumbline.release.promotion import (
    Promotion,
    current_champion,
    find_release,
    promotions,
    roll_back,
)
from plumbline.release.registry import Registry, reconcile
from plumbline.release.signing.sign import sign_rollback
from plumbline.release.signing.trust import load_trust
from plumbline.schema.eval_report import EvalReport
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

RegistryFactory = Callable[[HomeLayout], Registry]
"""Opens the registry of a home, where people look up the champion."""


def add_to(app: typer.Typer, registry: RegistryFactory | None) -> None:
    """Add the group of commands; without a registry, the ledger alone is read and written."""
    group = typer.Typer(
        help=(
            "The champion: its history, a rollback, and whether the registry agrees with the"
            " record."
        ),
        no_args_is_help=True,
    )
    app.add_typer(group, name="release")

    @group.command("list")
    def history(
        home: HomeOption = None,
        profile: ProfileOption = None,
        as_json: Annotated[bool, typer.Option("--json", help="Full digests, as JSON.")] = False,
    ) -> None:
        """Every promotion and rollback of the profile, the newest first; the first line is the
        champion."""
        _show_history(layout_of(home, profile), as_json)

    @group.command()
    def rollback(
        decision: Annotated[
            str,
            typer.Argument(
                help=(
                    "Digest of the earlier decision, or the first digits of it; `plumbline release"
                    " list` shows them."
                )
            ),
        ],
        reason: ReasonOption,
        key: KeyOption = None,
        passphrase_file: Annotated[
            Path | None,
            typer.Option("--passphrase-file", help="File with the passphrase of the key."),
        ] = None,
        home: HomeOption = None,
        profile: ProfileOption = None,
    ) -> None:
        """Make an earlier release the champion again; signed, recorded, and nothing is trained or
        judged anew."""
        layout = layout_of(home, profile)
        promotion = _roll_back(layout, decision, reason, signing_key(key, passphrase_file))
        typer.echo(
            f"{printable(promotion.by[0])} rolled '{layout.profile}' back to"
            f" {short(promotion.policy)} (#{promotion.number})"
        )
        _follow(layout, Ledger(layout.ledger), registry)

    @group.command("reconcile")
    def set_back(home: HomeOption = None, profile: ProfileOption = None) -> None:
        """Compare the registry with the ledger and set it back where it disagrees. Exit code 3: it
        disagreed."""
        layout = layout_of(home, profile)
        ledger = Ledger(layout.ledger)
        broken = ledger.verify()
        if broken:
            raise LineageError(
                "; ".join(finding.what for finding in broken) + f": {broken[0].remedy}"
            )
        if _follow(layout, ledger, registry):
            raise typer.Exit(3)

    @group.command()
    def recheck(
        decision: DecisionArgument,
        home: HomeOption = None,
        profile: ProfileOption = None,
    ) -> None:
        """Make a decision again from its evidence and compare. Exit code 3: it comes out
        otherwise."""
        _decide_again(layout_of(home, profile), decision)


def _show_history(layout: HomeLayout, as_json: bool) -> None:
    made = tuple(reversed(promotions(Ledger(layout.ledger), layout.profile)))
    if as_json:
        typer.echo(json.dumps([one.model_dump(mode="json") for one in made], indent=2))
        return
    if not made:
        typer.echo(f"nothing of profile '{layout.profile}' was released yet")
        return
    table = Table(box=SIMPLE_HEAD, padding=(0, 1))
    for column in ("#", "what", "policy", "decision", "recipe", "released by"):
        table.add_column(column, no_wrap=True)
    for column in ("signed by", "reason"):
        table.add_column(column, overflow="fold")
    for one in made:
        way = "[bold red]OVERRIDE[/bold red]" if one.released_by == "override" else "gates"
        champion = " (champion)" if one is made[0] else ""
        row = (
            str(one.number),
            one.action + champion,
            short(one.policy),
            short(one.decision),
            one.recipe,
        )
        table.add_row(
            *row, way, *(escape(printable(text)) for text in (", ".join(one.by), one.reason))
        )
    Console(width=None if sys.stdout.isatty() else 160).print(table)


def _roll_back(
    layout: HomeLayout, decision: str, reason: str, key: "Ed25519PrivateKey"
) -> Promotion:
    """Sign and record the rollback; the target's bytes are hashed before anything is signed."""
    ledger, store, trust = (
        Ledger(layout.ledger),
        ArtifactStore(layout.store),
        load_trust(layout.trust),
    )
    target, champion = (
        find_release(ledger, layout.profile, decision),
        current_champion(ledger, layout.profile),
    )
    if champion is None or champion.policy == target.policy:
        raise PromotionRefused(
            f"{short(target.policy)} is the champion of '{layout.profile}' already; there is"
            " nothing to roll back to"
        )
    rule, now = profile_of(layout).signoff, datetime.now(UTC)
    opened, _ = sign_rollback(
        store,
        ledger,
        trust,
        rule,
        decision=target.decision,
        leaves=champion.policy,
        key=key,
        reason=reason,
        now=now,
    )
    return roll_back(ledger, layout.profile, target.decision, by=(opened.person,), reason=reason)


def _decide_again(layout: HomeLayout, given: str) -> None:
    """Recompute a decision from its recorded evidence.

    Raises:
        LineageError: If it comes out otherwise.
    """
    store = ArtifactStore(layout.store)
    folder, artifact = store.open(
        decision_named(given, store, profile_of(layout)), kind="release_decision"
    )
    recorded = Decision.from_json((folder / "decision.json").read_bytes())
    evals, _ = store.open(artifact.parents["held_out_evals"], kind="held_out_evals")
    report = EvalReport.from_json((evals / "report.json").read_bytes())
    again = recompute(recorded, report, [gate.gate for gate in recorded.gates])
    if again != recorded:
        raise LineageError(
            f"decision {short(given)} says {recorded.verdict}, but its evidence gives"
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


def _follow(layout: HomeLayout, ledger: Ledger, registry: RegistryFactory | None) -> bool:
    """Set the registry back to the ledger; whether it had to be."""
    if registry is None:
        typer.echo(
            "the registry was not asked: the installed `plumbline` command reaches it, `python -m"
            " plumbline` does not"
        )
        return False
    found = reconcile(ledger, registry(layout), layout.profile)
    typer.echo(found.sentence())
    return found.drifted
