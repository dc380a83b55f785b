"""The gates on records: the opening of the vault, the ledger, promotions and registries, and the
sign-off of people."""

import sqlite3
from collections.abc import Mapping
from contextlib import closing

from plumbline.errors import PlumblineError, PromotionRefused, VaultRefused
from plumbline.evaluation.vault.opening import open_vault
from plumbline.evaluation.vault.suites import describe, write_vault
from plumbline.lineage.ledger import Ledger
from plumbline.records import sha256
from plumbline.release.promotion import Promotion, promote, roll_back
from plumbline.release.registry import reconcile
from plumbline.release.signing.signoff import signoff_of
from plumbline.schema.held_out import EvalPrompt
from tests.gallery.data_gates import Found
from tests.gallery.report_gates import EVALUATED, decision, measured
from tests.gallery.rooms import Room, honest, open_room
from tests.gallery.worlds import World, fresh_folder, stage

POLICY = sha256(b"the policy of today")
RELEASES = tuple(sha256(f"decision {number}".encode()) for number in range(3))


class Notice:
    """A registry: whoever reaches it can point it elsewhere."""

    def __init__(self) -> None:
        self.points_at: str | None = None

    def champion(self, profile: str) -> str | None:
        """What it calls the champion."""
        return self.points_at

    def follow(self, profile: str, promotion: Promotion | None) -> None:
        """Point at the policy of a promotion."""
        self.points_at = None if promotion is None else promotion.policy


@stage("vault", "profile", "opened_before")
def vault(world: World) -> Found:
    """The vault opens for the policy of today, after the openings that were before."""
    ledger = Ledger(fresh_folder() / "ledger.db")
    for prompts, policies in world.opened_before or (
        (world.vault, (sha256(b"the policy of yesterday"),)),
    ):
        for policy in policies:
            _open(world, prompts, policy, ledger)
    try:
        _open(world, world.vault, POLICY, ledger)
    except VaultRefused as refused:
        return {"vault opening": str(refused)}
    return {"vault opening": None}


def _open(world: World, prompts: tuple[EvalPrompt, ...], policy: str, ledger: Ledger) -> None:
    folder = fresh_folder()
    sources: Mapping[str, str] = {prompt.suite: "the sandbox" for prompt in prompts}
    write_vault(folder, prompts, describe(prompts, world.profile.name, sources))
    open_vault(
        folder,
        ledger,
        purpose="evaluation",
        by="held_out_evals",
        policy=policy,
        rule=world.profile.vault,
    )


@stage("profile", "forgery", "pointing", "promoted_again")
def promotions(world: World) -> Found:
    """Two releases and a rollback, the registry that follows them, and the ledger that records
    them."""
    ledger, registry, name = Ledger(fresh_folder() / "ledger.db"), Notice(), world.profile.name
    for number, release in enumerate(RELEASES[:2]):
        policy = sha256(f"policy {number}".encode())
        promote(
            ledger,
            name,
            policy=policy,
            decision=release,
            recipe="dpo",
            released_by="gates",
            by=("alice", "bob"),
            reason="passes",
        )
        reconcile(ledger, registry, name)
    roll_back(ledger, name, RELEASES[0], by=("bob",), reason="complaints")
    reconcile(ledger, registry, name)
    if world.pointing:
        registry.points_at = world.pointing
    found = reconcile(ledger, registry, name)
    refused = None
    if world.promoted_again:
        try:
            policy = sha256(b"policy 1")
            promote(
                ledger,
                name,
                policy=policy,
                decision=world.promoted_again,
                recipe="dpo",
                released_by="gates",
                by=("alice", "bob"),
                reason="retry",
            )
        except PromotionRefused as error:
            refused = str(error)
    head = ledger.head()
    if world.forgery:
        with closing(sqlite3.connect(ledger.path)) as connection, connection:
            connection.executescript(world.forgery)
    findings = "; ".join(finding.what for finding in ledger.verify(head=head))
    return {
        "registry": found.sentence() if found.drifted else None,
        "promotion": refused,
        "ledger": findings or None,
    }


@stage(*EVALUATED, "signing")
def signed(world: World) -> Found:
    """What is missing for a release, concluded from the signatures of people; nobody signs for what
    the gates hold back."""
    made, found = decision(world), measured(world)
    if made is None or isinstance(found, str) or made.verdict != "release":
        return {"sign-off": None}
    room = open_room(fresh_folder(), world.profile.signoff, world.now)
    room.decide(made, *found, world.vault)
    (world.signing or honest)(room)
    return {"sign-off": missing(room)}


def missing(room: Room) -> str | None:
    """What is still missing, or None."""
    try:
        _, found = signoff_of(
            room.chain.store, room.ledger, room.trust, room.decision, room.rule, room.now
        )
    except PlumblineError as error:
        return str(error)
    return (
        "; ".join([*found.missing, *(f"refused: {one.reason}" for one in found.refused)])
        if found.missing
        else None
    )
