"""What the commands that sign share: the decision, the person's key, and what is said
afterwards."""

import sys
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumbline.cli.options import layout_of, profile_of
from plumbline.cli.release.decisions import decision_named
from plumbline.cli.release.keys import passphrase_in
from plumbline.errors import SignatureRefused
from plumbline.lineage.ledger import Ledger
from plumbline.profile.profile import Profile
from plumbline.release.candidate import decision_in
from plumbline.release.signing.envelopes import Opened
from plumbline.release.signing.keys import keys_folder, load_private_key, needs_passphrase, own_keys
from plumbline.release.signing.sign import SigningRequest
from plumbline.release.signing.signing_policy import SigningPolicy
from plumbline.release.signing.signoff import Signoff, conclude, signing_policy_at
from plumbline.release.signing.trust import Trust, load_trust
from plumbline.storage.artifacts import ArtifactStore
from plumbline.text.unsafe_characters import printable

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

KeyOption = Annotated[
    str | None,
    typer.Option(
        "--key", help="Name of your key.", envvar="PLUMBLINE_KEY", show_default="your only key"
    ),
]
ReasonOption = Annotated[
    str, typer.Option("--reason", help="Why; it is signed, and everybody reads it.")
]


@dataclass
class SigningContext:
    """What a person signs at: one decision of one home, with the rule of its profile."""

    store: ArtifactStore
    ledger: Ledger
    trust: Trust
    trust_file: Path
    profile: Profile
    decision: str
    now: datetime

    @cached_property
    def terms(self) -> SigningPolicy:
        """What signatures are held against; the first use hashes everything behind the decision,
        whatever its size."""
        return signing_policy_at(
            self.store, self.trust, self.decision, self.profile.signoff, self.now
        )

    def request(self, key: "Ed25519PrivateKey", reason: str) -> SigningRequest:
        """What every statement that is signed here shares."""
        return SigningRequest(
            self.store,
            self.ledger,
            self.trust,
            self.profile.signoff,
            self.decision,
            key,
            reason,
            self.now,
            self.terms,
        )

    def signoff(self) -> Signoff:
        """The sign-off as it is now."""
        return conclude(self.store, self.ledger, self.terms)


def desk(given: str, home: Path | None, profile: str | None) -> SigningContext:
    """Everything that a signature for a decision needs.

    Raises:
        ArtifactNotFound: If there is no such decision.
        SignatureRefused: If it was made under other gates than those of the profile.
    """
    layout = layout_of(home, profile)
    store, current = ArtifactStore(layout.store), profile_of(layout)
    decision = decision_named(given, store, current)
    artifact = store.manifest(decision)
    if artifact.config != current.digest():
        raise SignatureRefused(
            f"decision {decision[7:19]} was made under another profile than '{current.name}' is"
            " now; name its profile with --profile, or materialize release_decision again if the"
            " profile was changed: what was decided under other gates cannot be signed for"
        )
    gates = [judged.gate for judged in decision_in(store, decision).gates]
    if gates != list(current.gates):
        raise SignatureRefused(
            f"decision {decision[7:19]} says that it was made under profile '{current.name}', but"
            " judged other gates; decide again"
        )
    return SigningContext(
        store,
        Ledger(layout.ledger),
        load_trust(layout.trust),
        layout.trust,
        current,
        decision,
        datetime.now(UTC),
    )


def signing_key(name: str | None, passphrase_file: Path | None) -> "Ed25519PrivateKey":
    """The private key that a person names, or the only one there is; asks for its passphrase where
    a person can answer.

    Raises:
        SignatureRefused: If there is no such key, or it cannot be opened.
    """
    folder = keys_folder()
    known = own_keys(folder)
    if name is None:
        if len(known) != 1:
            raise SignatureRefused(
                f"{folder}: say with --key which key signs; there are:"
                f" {', '.join(known) or 'none. `plumbline release key create NAME` makes one'}"
            )
        name = next(iter(known))
    passphrase = passphrase_in(passphrase_file)
    if passphrase is None and needs_passphrase(folder, name) and sys.stdin.isatty():
        passphrase = typer.prompt(f"passphrase of key {name}", hide_input=True).encode()
    return load_private_key(folder, name, passphrase)


def summarize(at: SigningContext) -> None:
    """Show what the decision says, gate by gate where one is open: people sign what they see."""
    made = decision_in(at.store, at.decision)
    typer.echo(
        printable(
            f"recipe {made.recipe} of profile {at.profile.name}, policy"
            f" {made.inputs['aligned_policy']}"
        )
    )
    for line in made.summary.split("\n"):
        typer.echo(printable(line))
    typer.echo("")


def print_result(at: SigningContext, opened: Opened, envelope: str) -> None:
    """Say what was signed, what to note down, and what is still missing."""
    statement = opened.statement
    typer.echo(
        printable(
            f"{statement.ACTION} by {opened.person} for decision {statement.decision[7:19]}, policy"
            f" {statement.policy[7:19]}"
        )
    )
    typer.echo(
        f"signature {envelope}\nledger head {at.ledger.head()} (noted elsewhere, it proves later"
        " that nothing was cut off)\n"
    )
    for line in signoff_lines(at.signoff()):
        typer.echo(line)


def signoff_lines(signoff: Signoff) -> Iterator[str]:
    """A sign-off in lines for a terminal."""
    counted = (*signoff.reviews, *signoff.approvals, *signoff.overrides)
    for signature in counted:
        about = (
            f" of {len(signature.cases)} failure cases: {signature.verdict}"
            if signature.action == "review"
            else ""
        )
        about += (
            f" of {', '.join(signature.scope)}, until {signature.expires:%Y-%m-%d %H:%M} UTC"
            if signature.expires is not None
            else ""
        )
        yield printable(
            f"{signature.action} by {signature.by}, {signature.at:%Y-%m-%d %H:%M} UTC{about}:"
            f" {signature.reason}"
        )
        yield from (printable(f"    {case}: {note}") for case, note in signature.notes.items())
    for refused in signoff.refused:
        yield printable(
            f"does not count: {refused.action or 'signature'} {refused.envelope[7:19]} of"
            f" {refused.by or 'nobody known'}: {refused.reason}"
        )
    if signoff.complete:
        over = "  AGAINST THE GATES, by override" if signoff.released_by == "override" else ""
        yield f"complete: released_policy can be materialized{over}"
        return
    yield "not complete:"
    yield from (printable(f"- {what}") for what in signoff.missing)
