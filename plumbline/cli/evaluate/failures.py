"""`plumbline evaluate failures`: what went wrong in the newest evals and campaigns, and where
people sent it."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated

import typer

from plumbline.cli.options import (
    HomeOption,
    ProfileOption,
    layout_of,
    opened,
    profile_of,
    rubric_of,
)
from plumbline.errors import ArtifactNotFound, DataError
from plumbline.evaluation.red_team.triage import Destination
from plumbline.schema.kinds import HELD_OUT_EVALS
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import printable

if TYPE_CHECKING:
    from plumbline.evaluation.failure_cases import FailureCase
    from plumbline.evaluation.red_team.attempts import Attempt
    from plumbline.evaluation.red_team.triage import FailureTriage

app = typer.Typer(
    no_args_is_help=True,
    help=(
        "Failures of the newest evals and campaigns, and their way to the next dataset, the rubric"
        " or the guardrail."
    ),
)
SHORTEST = 6
"""Characters of an id that name it, when no other id starts with them."""


@app.command("list")
def list_failures(
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of each kind.")] = 20,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Failure cases of the newest evals and successes of the red team, each with its routes.
    Held-out prompts are not printed."""
    layout = layout_of(home, profile)
    cases, successes, made = _found(layout)
    for case in cases[:limit]:
        worse = f", worse than {' and '.join(case.worse_than)}" if case.worse_than else ""
        typer.echo(
            f"{case.id[:12]}  {case.kind} on {case.slice}:"
            f" {case.metric}{worse}{_sent(made, case.id)}"
        )
    for attempt in successes[:limit]:
        typer.echo(
            f"{attempt.id[:12]}  red team, {attempt.tactic}:"
            f" {printable(' '.join(attempt.prompt[-1].content.split()))[:100]}"
            f"{_sent(made, attempt.id)}"
        )
    left = max(0, len(cases) - limit) + max(0, len(successes) - limit)
    typer.echo(
        f"{len(cases)} failure cases and {len(successes)} red-team successes"
        + (f"; {left} are not shown, raise --limit" if left else "")
    )


@app.command("route")
def route_failure(
    case: Annotated[
        str,
        typer.Argument(metavar="CASE", help="Id of the failure, or the first characters of it."),
    ],
    to: Annotated[Destination, typer.Option("--to", help="What the failure is to change.")],
    by: Annotated[str, typer.Option("--by", help="Name of who decides.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    clause: Annotated[
        str | None,
        typer.Option("--clause", help="With --to rubric: the clause that should have decided."),
    ] = None,
    response: Annotated[
        str | None,
        typer.Option(
            "--response",
            help="With --to dataset and a red-team success: what should have been answered.",
        ),
    ] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Send a failure to the next dataset, the rubric or the guardrail; the ledger keeps who and
    why."""
    from plumbline.evaluation.red_team.triage import TriageDecision, route
    from plumbline.lineage.ledger import Ledger

    layout = layout_of(home, profile)
    rubric = rubric_of(layout)
    cases, successes, _ = _found(layout)
    order = TriageDecision(_named(case, [*cases, *successes]), to, by, reason, clause, response)
    with opened(layout) as store:
        made = route(Ledger(layout.ledger), store, layout.profile, rubric, order, datetime.now(UTC))
    typer.echo(
        printable(
            f"{made.case[:12]} goes to the {made.to}: "
            + ", ".join(f"{name} {value}" for name, value in made.detail.items())
        )
    )


@app.command()
def requests(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """What was asked for because a held-out prompt failed: new feedback or verdicts by slice, never
    the prompt itself."""
    from plumbline.evaluation.red_team.triage import routes
    from plumbline.lineage.ledger import Ledger

    layout = layout_of(home, profile)
    asked = [
        triage
        for triage in routes(Ledger(layout.ledger), layout.profile)
        if "request" in triage.detail
    ]
    for triage in asked:
        detail = triage.detail
        typer.echo(
            printable(
                f"{triage.case[:12]}  {detail['request']} like slice {detail['slice']}"
                f" ({detail['metric']}), asked by {triage.by}: {triage.reason}"
            )
        )
    if not asked:
        typer.echo("nothing was asked for")


def _found(
    layout: HomeLayout,
) -> "tuple[tuple[FailureCase, ...], list[Attempt], tuple[FailureTriage, ...]]":
    """Failure cases of the newest evals of the candidate recipe, every red-team success, and the
    routes so far."""
    from plumbline.evaluation.failure_cases import FILE, read_failures
    from plumbline.evaluation.red_team.campaigns import all_attempts
    from plumbline.evaluation.red_team.triage import routes
    from plumbline.lineage.ledger import Ledger
    from plumbline.lineage.newest import newest_artifact
    from plumbline.storage.artifacts import ArtifactStore

    profile, ledger, store = profile_of(layout), Ledger(layout.ledger), ArtifactStore(layout.store)
    successes = [
        attempt
        for attempts in all_attempts(layout, ledger).values()
        for attempt in attempts
        if attempt.success
    ]
    cases: tuple[FailureCase, ...] = ()
    try:
        digest, _ = newest_artifact(store, HELD_OUT_EVALS, profile.digest(), profile.candidate)
    except ArtifactNotFound:
        typer.echo(
            f"no held-out evals of recipe {profile.candidate} yet: only the red team is shown",
            err=True,
        )
    else:
        cases = read_failures(store.open(digest, kind=HELD_OUT_EVALS)[0] / FILE)
    return cases, successes, routes(ledger, layout.profile)


def _named(start: str, failures: "list[FailureCase | Attempt]") -> "FailureCase | Attempt":
    if len(start) < SHORTEST:
        raise DataError(
            f"'{printable(start)}' is too short to name a failure; give at least {SHORTEST}"
            " characters of its id"
        )
    matching = [failure for failure in failures if failure.id.startswith(start)]
    if len(matching) != 1:
        what = (
            f"{len(matching)} failures start with"
            if matching
            else "no failure of the newest evals and no red-team success is called"
        )
        raise DataError(
            f"{what} '{printable(start)}'; `plumbline evaluate failures list` shows them"
        )
    return matching[0]


def _sent(made: "tuple[FailureTriage, ...]", case: str) -> str:
    return "".join(
        f"  [{triage.to}, {printable(triage.by)}]" for triage in made if triage.case == case
    )
