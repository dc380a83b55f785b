"""`plumbline release approve`, `override` and `signoff`: sign for a release, and see what is still
missing."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption
from plumbline.cli.release.decisions import DecisionArgument
from plumbline.cli.release.keys import PassphraseOption
from plumbline.cli.release.signing import (
    KeyOption,
    ReasonOption,
    desk,
    print_result,
    signing_key,
    signoff_lines,
    summarize,
)
from plumbline.release.signing.sign import sign_approval, sign_override

INCOMPLETE = 3


def approve(
    decision: DecisionArgument,
    reason: ReasonOption,
    key: KeyOption = None,
    passphrase_file: PassphraseOption = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Approve the release of exactly this candidate with your key. The approval ends with any
    change upstream, and with time."""
    at = desk(decision, home, profile)
    summarize(at)
    private = signing_key(key, passphrase_file)
    signed = sign_approval(at.request(private, reason))
    print_result(at, *signed)


def override(
    decision: DecisionArgument,
    gates: Annotated[
        list[str],
        typer.Option(
            "--gate", help="Gate or check that does not pass; each one of them has to be named."
        ),
    ],
    expires: Annotated[
        datetime,
        typer.Option(
            "--expires",
            help="When the override ends, UTC; a date alone means its first minute.",
        ),
    ],
    reason: ReasonOption,
    key: KeyOption = None,
    passphrase_file: PassphraseOption = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Answer with your name for a release although these gates and checks do not pass, until an
    end. It stands out everywhere after."""
    at = desk(decision, home, profile)
    summarize(at)
    private = signing_key(key, passphrase_file)
    ends = expires if expires.tzinfo is not None else expires.replace(tzinfo=UTC)
    signed = sign_override(at.request(private, reason), scope=gates, expires=ends)
    print_result(at, *signed)


def signoff(
    decision: DecisionArgument,
    as_json: Annotated[bool, typer.Option("--json", help="Everything, as JSON.")] = False,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Who signed for a decision, what does not count and why, and what is still missing. Exit
    code 0: complete; 3: not complete."""
    at = desk(decision, home, profile)
    state = at.signoff()
    if as_json:
        typer.echo(state.to_json(), nl=False)
    else:
        summarize(at)
        typer.echo(
            f"decision {at.decision}\ncandidate {state.candidate}\ntrust {state.trust}"
            f" ({at.trust_file})\nledger head {state.ledger_head}\n"
        )
        for line in signoff_lines(state):
            typer.echo(line)
    raise typer.Exit(0 if state.complete else INCOMPLETE)
