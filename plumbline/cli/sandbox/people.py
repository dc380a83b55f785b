"""`plumbline sandbox`: simulated people who give feedback and attack, so that the loops can be
tried without any."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, opened, profile_of
from plumbline.errors import ConfigError
from plumbline.profile.profile import Profile
from plumbline.profile.sources import SandboxSource
from plumbline.sandbox.lexicon import LANGUAGES
from plumbline.schema.feedback import FeedbackEvent
from plumbline.storage.home import HomeLayout

if TYPE_CHECKING:
    from plumbline.data.store.deliveries import Delivery
    from plumbline.data.store.events import FeedbackStore
    from plumbline.simulation.rating import RatedPolicy

CHUNK = 500
ENDLESS = 2**31
RAREST_SLICE = 0.005
"""No slice of the sandbox has a smaller share of the judgments."""


CountOption = Annotated[
    int | None,
    typer.Option("--count", min=1, max=100_000, help="New judgments of prepared responses to add."),
]
VerdictsOption = Annotated[
    int | None,
    typer.Option(
        "--verdicts",
        min=1,
        max=100_000,
        help="New verdicts on single responses, for the guardrail.",
    ),
]
DaysOption = Annotated[
    int | None,
    typer.Option(
        "--days",
        min=1,
        max=30,
        help="Days of traffic on which the current policy's own responses are judged.",
    ),
]
SeedOption = Annotated[
    int | None,
    typer.Option(
        "--seed",
        min=0,
        help="Which stream of judgments --count takes.",
        show_default="the profile's",
    ),
]
SliceOption = Annotated[
    str | None,
    typer.Option(
        "--slice", help="With --count: only judgments of this slice, for example harm-es."
    ),
]


def feedback(
    count: CountOption = None,
    verdicts: VerdictsOption = None,
    days: DaysOption = None,
    seed: SeedOption = None,
    slice_: SliceOption = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Add simulated judgments as open events: when enough wait, the daemon closes a batch and
    retrains.

    With --days, the newest policy of the candidate recipe answers prompts that drift to the second
    language, and annotators compare its answers. With --count and --verdicts, the stream of
    prepared judgments goes on where the last call stopped: judgments that are in the store already
    are passed over.
    """
    layout = layout_of(home, profile)
    chosen = profile_of(layout)
    source = _sandbox_source(chosen)
    if sum(wanted is not None for wanted in (count, verdicts, days)) != 1:
        raise ConfigError(
            "give --count, for comparisons of prepared responses, --verdicts, for single ones, or"
            " --days, for the current policy's own; one of them"
        )
    if days is not None:
        _no_choice(seed, slice_, "--days")
        _rate(layout, chosen, source, days)
        return
    if verdicts is not None:
        _no_choice(seed, slice_, "--verdicts")
        _add(layout, chosen, _more_verdicts(chosen, source), verdicts, "the sandbox")
        return
    _add(
        layout,
        chosen,
        judgments(chosen, source, chosen.seed if seed is None else seed, slice_),
        count or 0,
        f"slice '{slice_}'",
    )


def _no_choice(seed: int | None, slice_name: str | None, option: str) -> None:
    if slice_name is not None or seed is not None:
        raise ConfigError(
            f"--slice and --seed choose prepared comparisons; with {option} they have no effect:"
            " leave them out"
        )


def _add(
    layout: HomeLayout, profile: Profile, stream: Iterator[FeedbackEvent], wanted: int, where: str
) -> None:
    """Add judgments of a stream until as many as were wanted are new."""
    added = known = 0
    with opened(layout) as store:
        while added < wanted:
            events = list(islice(stream, min(CHUNK, wanted - added)))
            if not events:
                raise ConfigError(
                    f"{where} gave {added} new judgments and has no more in reach; choose another"
                    " --slice or --seed"
                )
            delivery = deliver(store, "sandbox", events, datetime.now(UTC))
            added, known = added + delivery.accepted, known + delivery.duplicate
        waiting, _ = store.open_events()
    typer.echo(
        f"{added} judgments added ({known} were in the store already); {waiting} wait for a batch,"
        f" which closes at {profile.batches.max_events}"
    )


def _more_verdicts(profile: Profile, source: SandboxSource) -> Iterator[FeedbackEvent]:
    """The verdicts that follow those that the profile starts with, without end."""
    from plumbline.data.sources import sandbox_options
    from plumbline.sandbox.verdicts import verdict_events

    return islice(
        verdict_events(replace(sandbox_options(profile, source), verdicts=ENDLESS)),
        source.verdicts,
        None,
    )


def attack(
    campaign: Annotated[
        str,
        typer.Option("--campaign", help="Name of the campaign; other names give other attacks."),
    ],
    attempts: Annotated[
        int, typer.Option("--attempts", min=1, max=5000, help="How many attacks.")
    ] = 200,
    on: Annotated[
        Literal["aligned", "reference"],
        typer.Option(
            "--on",
            help="The newest policy of the candidate recipe, or the one that it started from.",
        ),
    ] = "aligned",
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Let a simulated red team attack the newest policy, and take its attempts in as a campaign."""
    from plumbline.data.sources import sandbox_options
    from plumbline.evaluation.red_team.campaigns import add_attempts
    from plumbline.lineage.ledger import Ledger
    from plumbline.simulation.red_team import attack_policy

    layout = layout_of(home, profile)
    chosen = profile_of(layout)
    source = _sandbox_source(chosen)
    policy = current_policy(layout, chosen, on)
    made = attack_policy(chosen, sandbox_options(chosen, source), policy, campaign, attempts)
    add_attempts(layout, Ledger(layout.ledger), campaign, made)
    typer.echo(
        f"campaign {campaign} on {policy.digest}: {len(made)} attempts,"
        f" {sum(attempt.success for attempt in made)} successes; `plumbline evaluate redteam report"
        f" {campaign}`"
    )


def _sandbox_source(profile: Profile) -> SandboxSource:
    if not isinstance(profile.source, SandboxSource):
        raise ConfigError(
            f"profile '{profile.name}' takes feedback from files; simulated people do not belong"
            " there. Use --profile sandbox"
        )
    return profile.source


def _rate(layout: HomeLayout, profile: Profile, source: SandboxSource, days: int) -> None:
    """Add the judgments of some days, each received when its day ended; the last day ended as long
    ago as a batch waits at most, so all batches are due."""
    from plumbline.data.sources import sandbox_options
    from plumbline.simulation.rating import rate_days

    policy = current_policy(layout, profile)
    end = datetime.now(UTC) - timedelta(hours=profile.batches.max_age_hours)
    typer.echo(f"policy {policy.digest} answers the prompts of {days} days")
    with opened(layout) as store:
        for day in rate_days(profile, sandbox_options(profile, source), policy, days, end):
            deliver(store, f"sandbox/{policy.digest}", day.events, day.start + timedelta(days=1))
            slices = Counter(event.context.slice for event in day.events)
            shares = ", ".join(f"{name} {number}" for name, number in sorted(slices.items()))
            typer.echo(
                f"{day.start:%Y-%m-%d}: {day.prompts} prompts, {day.same} with nothing to compare,"
                f" {len(day.events)} judgments ({shares})"
            )
        waiting, _ = store.open_events()
    typer.echo(
        f"{waiting} judgments wait for a batch; a batch closes at {profile.batches.max_events}, or"
        f" {profile.batches.max_age_hours:g} hours after its first"
    )


def current_policy(
    layout: HomeLayout, profile: Profile, which: Literal["aligned", "reference"] = "aligned"
) -> "RatedPolicy":
    """The newest policy of the profile's candidate recipe, or the newest reference policy, with
    every byte verified.

    Raises:
        ArtifactNotFound: If the candidate was never trained under the profile as it is now.
    """
    from plumbline.lineage.newest import newest_artifact
    from plumbline.simulation.rating import RatedPolicy
    from plumbline.storage.artifacts import ArtifactStore

    store = ArtifactStore(layout.store)
    kind = f"{which}_policy"
    digest, _ = newest_artifact(
        store, kind, profile.digest(), profile.candidate if which == "aligned" else None
    )
    folder, artifact = store.open(digest, kind=kind)
    return RatedPolicy(
        digest=digest, folder=str(folder / "model"), chat_template=artifact.facts["chat_template"]
    )


def deliver(
    store: "FeedbackStore", source: str, events: Sequence[FeedbackEvent], now: datetime
) -> "Delivery":
    """Put events into the store as one delivery."""
    from plumbline.data.formats.import_report import ImportedRow
    from plumbline.data.store.batches import batch_digest
    from plumbline.data.store.deliveries import Deliveries

    rows = (
        ImportedRow(number, 0, len(event.to_json()), event)
        for number, event in enumerate(events, start=1)
    )
    return Deliveries(store).deliver(
        source, "cli", rows, batch_digest(event.id for event in events), now
    )


def judgments(
    profile: Profile, source: SandboxSource, seed: int, slice_name: str | None
) -> Iterator[FeedbackEvent]:
    """The judgments that this profile's annotators give, without end but for a slice that does not
    occur.

    The first `pairs` of the profile's own seed are the batches that the profile starts with, so the
    stream begins behind them. Another seed gives other judgments of the same world: those about
    intents that the profile holds out for evaluation are left out.

    Raises:
        ConfigError: If there is no such slice.
    """
    from plumbline.data.sources import sandbox_options
    from plumbline.sandbox.datasets import feedback_events
    from plumbline.sandbox.world import is_held_out, read_prompt

    _require_slice(slice_name)
    options = replace(sandbox_options(profile, source), seed=seed, pairs=ENDLESS)
    passed_over = 0
    seeded = source.pairs if seed == profile.seed else 0
    for event in islice(feedback_events(options), seeded, None):
        if slice_name in (None, event.context.slice) and not is_held_out(
            read_prompt(event.prompt[-1].content)[0], profile.seed
        ):
            passed_over = 0
            yield event
        else:
            passed_over += 1
        if passed_over > 100 / RAREST_SLICE:
            return


def _require_slice(name: str | None) -> None:
    from plumbline.sandbox.datasets import slice_name
    from plumbline.sandbox.world import KINDS

    known = sorted(
        {slice_name(kind, language, "plain") for kind in KINDS for language in LANGUAGES}
        | {slice_name(kind, "en", "story") for kind in KINDS}
    )
    if name is not None and name not in known:
        raise ConfigError(
            f"there is no slice '{name}' in the sandbox; choose one of {', '.join(known)}"
        )
