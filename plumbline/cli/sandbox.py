"""`plumbline sandbox`: simulated people who give feedback, so that the retraining loop can be tried without any."""

from collections.abc import Iterator
from dataclasses import replace
from itertools import islice
from typing import Annotated

import typer

from plumbline.cli.feedback import opened
from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.config import Profile, SandboxSource
from plumbline.data.schema import FeedbackEvent
from plumbline.errors import ConfigError
from plumbline.sandbox.lexicon import LANGUAGES

app = typer.Typer(no_args_is_help=True, help="The synthetic world: try the feedback loop without people.")

CHUNK = 500
ENDLESS = 2**31
RAREST_SLICE = 0.005
"""No slice of the sandbox has a smaller share of the judgments."""


@app.callback()
def group() -> None:
    """Keeps `feedback` a subcommand, although it is the only one."""


@app.command()
def feedback(
    count: Annotated[int, typer.Option("--count", min=1, max=100_000, help="New judgments to add.")],
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Which stream of judgments to take them from.", show_default="the profile's")] = None,
    slice_: Annotated[str | None, typer.Option("--slice", help="Only judgments of this slice, for example harm-es.")] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Add simulated judgments as open events: when enough wait, the daemon closes a batch and retrains.

    The stream goes on where the last call stopped: judgments that are in the store already are passed over.
    """
    layout = layout_of(home, profile)
    chosen = profile_of(layout)
    if not isinstance(chosen.source, SandboxSource):
        raise ConfigError(f"profile '{chosen.name}' takes feedback from files; simulated judgments do not belong there. Use --profile sandbox")
    stream = judgments(chosen, chosen.source, chosen.seed if seed is None else seed, slice_)
    added = known = 0
    with opened(layout) as store:
        while added < count:
            events = list(islice(stream, min(CHUNK, count - added)))
            if not events:
                raise ConfigError(f"the sandbox gave {added} new judgments of slice '{slice_}' and has no more in reach; choose another --slice or --seed")
            receipt = store.add(events)
            added, known = added + receipt.accepted, known + receipt.duplicate
        waiting, _ = store.open_events()
    typer.echo(f"{added} judgments added ({known} were in the store already); {waiting} wait for a batch, which closes at {chosen.batches.max_events}")


def judgments(profile: Profile, source: SandboxSource, seed: int, slice_name: str | None) -> Iterator[FeedbackEvent]:
    """The judgments that this profile's annotators give, without end but for a slice that does not occur.

    The first `pairs` of the profile's own seed are the batches that the profile starts with, so the stream begins behind them. Another seed gives
    other judgments of the same world: those about intents that the profile holds out for evaluation are left out.

    Raises:
        ConfigError: If there is no such slice.
    """
    from plumbline.data.source import sandbox_options
    from plumbline.sandbox.records import feedback_events
    from plumbline.sandbox.world import is_held_out, read_prompt

    _require_slice(slice_name)
    options = replace(sandbox_options(profile, source), seed=seed, pairs=ENDLESS)
    passed_over = 0
    seeded = source.pairs if seed == profile.seed else 0
    for event in islice(feedback_events(options), seeded, None):
        if slice_name in (None, event.context.slice) and not is_held_out(read_prompt(event.prompt[-1].content)[0], profile.seed):
            passed_over = 0
            yield event
        else:
            passed_over += 1
        if passed_over > 100 / RAREST_SLICE:
            return


def _require_slice(name: str | None) -> None:
    from plumbline.sandbox.records import slice_name
    from plumbline.sandbox.world import KINDS

    known = sorted({slice_name(kind, language, "plain") for kind in KINDS for language in LANGUAGES} | {slice_name(kind, "en", "story") for kind in KINDS})
    if name is not None and name not in known:
        raise ConfigError(f"there is no slice '{name}' in the sandbox; choose one of {', '.join(known)}")
