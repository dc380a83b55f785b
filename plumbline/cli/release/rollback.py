"""`plumbline release rollback` and `reconcile`: back to an earlier champion, and the registry set
back to the record."""

from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.cli.orchestrator import RegistryFactory, orchestrator_of
from plumbline.cli.release.signing import KeyOption, ReasonOption, signing_key
from plumbline.errors import LineageError, PromotionRefused
from plumbline.lineage.ledger import Ledger
from plumbline.records import short
from plumbline.release.promotion import Promotion, current_champion, find_release, roll_back
from plumbline.release.registry import reconcile
from plumbline.release.signing.sign import SigningRequest, sign_rollback
from plumbline.release.signing.trust import load_trust
from plumbline.storage.artifacts import ArtifactStore
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey


def rollback(
    context: typer.Context,
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
    _follow(layout, Ledger(layout.ledger), orchestrator_of(context).registry)


def set_back(
    context: typer.Context, home: HomeOption = None, profile: ProfileOption = None
) -> None:
    """Compare the registry with the ledger and set it back where it disagrees. Exit code 3: it
    disagreed."""
    layout = layout_of(home, profile)
    ledger = Ledger(layout.ledger)
    broken = ledger.verify()
    if broken:
        raise LineageError("; ".join(finding.what for finding in broken) + f": {broken[0].remedy}")
    if _follow(layout, ledger, orchestrator_of(context).registry):
        raise typer.Exit(3)


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
    request = SigningRequest(store, ledger, trust, rule, target.decision, key, reason, now)
    opened, _ = sign_rollback(request, leaves=champion.policy)
    return roll_back(ledger, layout.profile, target.decision, by=(opened.person,), reason=reason)


def _follow(layout: HomeLayout, ledger: Ledger, registry: RegistryFactory | None) -> bool:
    """Set the registry back to the ledger; whether it had to be."""
    if registry is None:
        typer.echo(
            "the registry was not asked: the installed `plumbline` command reaches it, `python -m"
            " plumbline` does not"
        )
        return False
    comparison = reconcile(ledger, registry(layout), layout.profile)
    typer.echo(comparison.sentence())
    return comparison.drifted
