"""`plumbline release review`: read the worst failure cases side by side, and sign what they mean
for the release."""

from collections.abc import Sequence
from typing import Annotated, Literal

import typer
from rich.console import Console, Group
from rich.table import Table
from rich.text import Text

from plumbline.cli.options import HomeOption, ProfileOption
from plumbline.cli.release.decisions import DecisionArgument
from plumbline.cli.release.keys import PassphraseOption
from plumbline.cli.release.signing import (
    KeyOption,
    desk,
    print_result,
    signing_key,
)
from plumbline.errors import SignatureRefused
from plumbline.evaluation.failure_cases import FailureCase, PolicyAnswer
from plumbline.release.candidate import failure_cases_of
from plumbline.release.signing.sign import sign_review
from plumbline.text.unsafe_characters import printable

Judgment = Literal["accept", "reject"]
WIDTH = 140


def review(
    decision: DecisionArgument,
    samples: Annotated[
        str | None,
        typer.Option(
            "--samples",
            help="How many failure cases to show, the worst first; or `all`.",
            show_default="as many as the profile asks",
        ),
    ] = None,
    verdict: Annotated[
        Judgment | None,
        typer.Option("--verdict", help="Your verdict; without it you are asked case by case."),
    ] = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="Why; it is signed, and everybody reads it.")
    ] = None,
    key: KeyOption = None,
    passphrase_file: PassphraseOption = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Show the worst failure cases of a candidate, and sign whether it may be released."""
    at = desk(decision, home, profile)
    cases = failure_cases_of(at.store, at.decision)
    shown = cases[: _count(samples, at.profile.signoff.samples, len(cases))]
    console = Console(highlight=False)
    console.width = min(console.width, WIDTH) if console.is_terminal else WIDTH
    typer.echo(
        f"decision {at.decision[7:19]}: {len(shown)} of {len(cases)} failure cases, the worst first"
    )
    read, notes = _read_cases(shown, console, asks=verdict is None)
    if verdict is None:
        answer = typer.prompt(f"{len(read)} of {len(cases)} cases read. accept or reject").strip()
        verdict = "accept" if answer == "accept" else "reject" if answer == "reject" else None
        if verdict is None:
            raise SignatureRefused(f"'{answer}' is neither accept nor reject; nothing was signed")
    reason = reason or typer.prompt("reason")
    private = signing_key(key, passphrase_file)
    request = at.request(private, reason)
    signed = sign_review(request, cases=read, verdict=verdict, notes=notes)
    print_result(at, *signed)


def _read_cases(
    cases: Sequence[FailureCase], console: Console, *, asks: bool
) -> tuple[list[str], dict[str, str]]:
    """Show the cases, until the reader stops; ids of those that were shown, and notes by id."""
    notes: dict[str, str] = {}
    read: list[str] = []
    for number, case in enumerate(cases, 1):
        console.print(_view(number, case))
        read.append(case.id)
        if asks:
            note = typer.prompt(
                "note (Enter: none, q: stop reading)", default="", show_default=False
            ).strip()
            if note == "q":
                break
            notes |= {case.id: note} if note else {}
    return read, notes


def _count(samples: str | None, asked: int, there: int) -> int:
    if samples is None:
        return asked
    if samples == "all":
        return there
    if not samples.isdecimal() or int(samples) < 1:
        raise SignatureRefused(f"--samples {samples}: give a number of failure cases, or `all`")
    return int(samples)


def _view(number: int, case: FailureCase) -> Group:
    """One case: what was asked, and what each policy answered, side by side; text that others wrote
    cannot steer the terminal."""
    worse = f", worse than {' and '.join(case.worse_than)}" if case.worse_than else ""
    alike = f", {case.alike} prompts alike" if case.alike > 1 else ""
    title = Text(
        printable(
            f"{number}. {case.slice}: {case.metric} ({case.kind}{worse}; expected"
            f" {case.expected}{alike})  {case.id}"
        ),
        "bold",
    )
    asked = [
        Text(f"{message.role}: ", "cyan").append(_block(message.content), "default")
        for message in case.prompt
    ]
    sides = {"reference": case.reference, "aligned": case.aligned} | (
        {} if case.champion is None else {"champion": case.champion}
    )
    table = Table(expand=True, show_lines=False)
    for name in sides:
        table.add_column(name, ratio=1, overflow="fold")
    table.add_row(*(Text(_block(answer.response)) for answer in sides.values()))
    table.add_row(*(Text(_judged(answer), "dim") for answer in sides.values()))
    return Group(Text(), title, *asked, table)


def _judged(answer: PolicyAnswer) -> str:
    reward = "" if answer.reward is None else f", reward {answer.reward:.2f}"
    broken = f"; breaks {', '.join(answer.broken)}" if answer.broken else ""
    unscored = f"; unscored: {answer.unscored}" if answer.unscored else ""
    return printable(f"{answer.label}{reward}{broken}{unscored}")


def _block(text: str) -> str:
    return "\n".join(printable(line) for line in text.split("\n"))
