"""`plumbline feedback flags`: what the checks found about annotators, sources and words, and what
people decided."""

from datetime import UTC, datetime
from typing import Annotated, Literal

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, opened
from plumbline.data.screening.flags import Flag, Flags
from plumbline.text.unsafe_characters import escaped

app = typer.Typer(
    no_args_is_help=True,
    help="Findings about annotators, sources and words that hold events until somebody decides.",
)


@app.command("list")
def list_flags(
    all_: Annotated[bool, typer.Option("--all", help="Also the decided ones.")] = False,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Findings that wait for a decision, the oldest first."""
    layout = layout_of(home, profile)
    if not layout.has_feedback:
        typer.echo(f"no feedback yet for profile {layout.profile}")
        return
    with opened(layout) as store:
        flags = Flags(store.database).all()
    shown = [flag for flag in flags if all_ or flag.status == "open"]
    for flag in shown:
        typer.echo(_line(flag))
    if not shown:
        typer.echo(f"no open flag; {len(flags)} decided" if flags else "no flag was raised")


@app.command()
def decide(
    flag: Annotated[int, typer.Argument(help="Number of the flag, from `flags list`.")],
    decision: Annotated[
        Literal["keep", "exclude"],
        typer.Argument(help="keep releases the events; exclude holds them for good."),
    ],
    by: Annotated[str, typer.Option("--by", help="Name of who decides.")],
    reason: Annotated[str, typer.Option("--reason", help="Why.")],
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Decide about a flag; the next materialization of the preference data follows the decision."""
    with opened(layout_of(home, profile)) as store:
        typer.echo(
            _line(Flags(store.database).decide(flag, decision, by, reason, datetime.now(UTC)))
        )


def _line(flag: Flag) -> str:
    """One line for a terminal: text that others wrote is escaped."""
    events = flag.evidence.get("events")
    about = f"{len(events)} events" if events is not None else "all events of the annotator"
    state = (
        "open"
        if flag.decision is None
        else f"{flag.decision.decision} by {flag.decision.by}: {flag.decision.reason}"
    )
    line = (
        f"{flag.id}  {flag.kind}  {flag.subject}  [{state}]  {flag.evidence.get('message', '')}; in"
        f" {flag.evidence.get('scope', '?')}; holds {about}"
    )
    return escaped(line).replace("\n", "\\n").replace("\r", "\\r")
