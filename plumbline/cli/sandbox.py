"""`plumbline sandbox`: simulated people who give feedback, so that the retraining loop can be tried without any."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, opened, profile_of
from plumbline.config import Profile, SandboxSource
from plumbline.data.schema import FeedbackEvent
from plumbline.errors import ConfigError
from plumbline.home import HomeLayout
from plumbline.sandbox.lexicon import LANGUAGES

if TYPE_CHECKING:
    from plumbline.data.deliveries import Delivery
    from plumbline.data.store import FeedbackStore
    from plumbline.sandbox.rating import RatedPolicy

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
    count: Annotated[int | None, typer.Option("--count", min=1, max=100_000, help="New judgments of prepared responses to add.")] = None,
    days: Annotated[int | None, typer.Option("--days", min=1, max=30, help="Days of traffic on which the current policy's own responses are judged.")] = None,
    seed: Annotated[int | None, typer.Option("--seed", min=0, help="Which stream of judgments --count takes.", show_default="the profile's")] = None,
    slice_: Annotated[str | None, typer.Option("--slice", help="With --count: only judgments of this slice, for example harm-es.")] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Add simulated judgments as open events: when enough wait, the daemon closes a batch and retrains.

    With --days, the newest policy of the candidate recipe answers prompts that drift to the second language, and annotators compare its answers. With
    --count, the stream of prepared judgments goes on where the last call stopped: judgments that are in the store already are passed over.
    """
    layout = layout_of(home, profile)
    chosen = profile_of(layout)
    if not isinstance(chosen.source, SandboxSource):
        raise ConfigError(f"profile '{chosen.name}' takes feedback from files; simulated judgments do not belong there. Use --profile sandbox")
    if (count is None) == (days is None):
        raise ConfigError("give --count, for judgments of prepared responses, or --days, for judgments of the current policy's own; one of them")
    if days is not None:
        if slice_ is not None or seed is not None:
            raise ConfigError("--slice and --seed choose prepared judgments; with --days the traffic decides: leave them out")
        _rate(layout, chosen, chosen.source, days)
        return
    stream = judgments(chosen, chosen.source, chosen.seed if seed is None else seed, slice_)
    added = known = 0
    with opened(layout) as store:
        while added < (count or 0):
            events = list(islice(stream, min(CHUNK, (count or 0) - added)))
            if not events:
                raise ConfigError(f"the sandbox gave {added} new judgments of slice '{slice_}' and has no more in reach; choose another --slice or --seed")
            delivery = deliver(store, "sandbox", events, datetime.now(UTC))
            added, known = added + delivery.accepted, known + delivery.duplicate
        waiting, _ = store.open_events()
    typer.echo(f"{added} judgments added ({known} were in the store already); {waiting} wait for a batch, which closes at {chosen.batches.max_events}")


def _rate(layout: HomeLayout, profile: Profile, source: SandboxSource, days: int) -> None:
    """Add the judgments of some days, each received when its day ended; the last day ended as long ago as a batch waits at most, so all batches are due."""
    from plumbline.data.source import sandbox_options
    from plumbline.sandbox.rating import rate_days

    policy = current_policy(layout, profile)
    end = datetime.now(UTC) - timedelta(hours=profile.batches.max_age_hours)
    typer.echo(f"policy {policy.digest} answers the prompts of {days} days")
    with opened(layout) as store:
        for day in rate_days(profile, sandbox_options(profile, source), policy, days, end):
            deliver(store, f"sandbox/{policy.digest}", day.events, day.start + timedelta(days=1))
            slices = Counter(event.context.slice for event in day.events)
            shares = ", ".join(f"{name} {number}" for name, number in sorted(slices.items()))
            typer.echo(f"{day.start:%Y-%m-%d}: {day.prompts} prompts, {day.same} with nothing to compare, {len(day.events)} judgments ({shares})")
        waiting, _ = store.open_events()
    typer.echo(
        f"{waiting} judgments wait for a batch; a batch closes at {profile.batches.max_events}, or {profile.batches.max_age_hours:g} hours after its first"
    )


def current_policy(layout: HomeLayout, profile: Profile) -> "RatedPolicy":
    """The newest policy of the profile's candidate recipe, with every byte verified.

    Raises:
        ArtifactNotFound: If the candidate was never trained under the profile as it is now.
    """
    from plumbline.artifacts import ArtifactStore
    from plumbline.audit.newest import newest_artifact
    from plumbline.sandbox.rating import RatedPolicy

    store = ArtifactStore(layout.store)
    digest, _ = newest_artifact(store, "aligned_policy", profile.digest(), profile.candidate)
    folder, artifact = store.open(digest, kind="aligned_policy")
    return RatedPolicy(digest=digest, folder=str(folder / "model"), chat_template=artifact.facts["chat_template"])


def deliver(store: "FeedbackStore", source: str, events: Sequence[FeedbackEvent], now: datetime) -> "Delivery":
    """Put events into the store as one delivery."""
    from plumbline.data.batches import batch_digest
    from plumbline.data.deliveries import Deliveries
    from plumbline.data.importers.report import Arrival

    rows = (Arrival(number, 0, len(event.to_json()), event) for number, event in enumerate(events, start=1))
    return Deliveries(store).deliver(source, "cli", rows, batch_digest(event.id for event in events), now)


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
