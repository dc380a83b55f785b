"""`plumbline evaluate redteam`: campaigns of people who try to break a policy, and how often they
succeed."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from plumbline.cli.options import HomeOption, ProfileOption, layout_of, profile_of
from plumbline.errors import ArtifactNotFound
from plumbline.schema.kinds import HELD_OUT_EVALS, REPORT_FILE
from plumbline.storage.home import HomeLayout
from plumbline.text.unsafe_characters import printable

if TYPE_CHECKING:
    from plumbline.evaluation.red_team.attempts import CampaignComparison, CampaignReport
    from plumbline.profile.profile import Profile
    from plumbline.schema.estimates import Estimate

app = typer.Typer(
    no_args_is_help=True,
    help="Red-team campaigns: successes per person-hour, and what no longer succeeds.",
)


@app.command()
def add(
    campaign: Annotated[
        str,
        typer.Argument(
            metavar="CAMPAIGN", help="Name of the campaign; it is closed once it is added."
        ),
    ],
    file: Annotated[
        Path, typer.Argument(help="Attempts, one JSON object a line; see docs/red-teaming.md.")
    ],
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Take in the attempts of one campaign; the daemon measures it, and the next eval vault asks
    what succeeded again."""
    from plumbline.evaluation.red_team.campaigns import add_campaign
    from plumbline.lineage.ledger import Ledger

    layout = layout_of(home, profile)
    profile_of(layout)
    added = add_campaign(layout, Ledger(layout.ledger), campaign, file)
    done = "taken in" if added.new else "was taken in before: nothing changed"
    typer.echo(
        f"campaign {added.name}: {len(added.attempts)} attempts,"
        f" {sum(attempt.success for attempt in added.attempts)} successes; {done} ({added.digest})"
    )


@app.command("list")
def list_campaigns(home: HomeOption = None, profile: ProfileOption = None) -> None:
    """Every campaign with its successes per person-hour."""
    from plumbline.evaluation.red_team.attempts import campaign_report
    from plumbline.evaluation.red_team.campaigns import all_attempts
    from plumbline.lineage.ledger import Ledger

    layout = layout_of(home, profile)
    level = profile_of(layout).evaluation.level
    campaigns = all_attempts(layout, Ledger(layout.ledger))
    for name, attempts in campaigns.items():
        report = campaign_report(name, attempts, level)
        typer.echo(
            f"{name}: gamma {_text(report.gamma)}, {report.successes} successes of"
            f" {report.attempts}"
            f" attempts in {report.hours:.1f} person-hours"
        )
    if not campaigns:
        typer.echo(
            f"no campaign yet for profile {layout.profile}; `plumbline evaluate redteam add"
            " CAMPAIGN FILE`"
            " takes one in"
        )


@app.command()
def report(
    campaign: Annotated[str, typer.Argument(metavar="CAMPAIGN", help="The campaign.")],
    against: Annotated[
        str | None, typer.Option("--against", help="An earlier campaign to compare it with.")
    ] = None,
    home: HomeOption = None,
    profile: ProfileOption = None,
) -> None:
    """Successes per person-hour by tactic, expert domain and policy; and the share of earlier
    successes that the newest policy withstands."""
    from plumbline.evaluation.red_team.attempts import campaign_report, compare_campaigns
    from plumbline.evaluation.red_team.campaigns import read_campaign
    from plumbline.lineage.ledger import Ledger

    layout = layout_of(home, profile)
    chosen, ledger = profile_of(layout), Ledger(layout.ledger)
    level = chosen.evaluation.level
    after = campaign_report(campaign, read_campaign(layout, ledger, campaign), level)
    typer.echo(_describe(after))
    if against is not None:
        typer.echo(
            _compare(
                compare_campaigns(
                    campaign_report(against, read_campaign(layout, ledger, against), level), after
                )
            )
        )
    typer.echo(_mitigated(layout, chosen))


def _describe(report: "CampaignReport") -> str:
    lines = [
        f"{report.campaign}: {report.attempts} attempts by {report.annotators} people in"
        f" {report.hours:.1f}"
        f" person-hours, {report.successes} successes"
    ]
    lines.append(
        f"  gamma {_text(report.gamma)} successes per person-hour ({report.gamma.level:.0%}"
        " interval,"
        " exact)"
    )
    for title, rates in (
        ("tactic", report.tactics),
        ("expert domain", report.experts),
        ("policy", report.policies),
    ):
        lines += [
            f"  {title} {printable(name)}: {_text(rate)} ({rate.n} attempts)"
            for name, rate in rates.items()
        ]
    return "\n".join(lines)


def _compare(comparison: "CampaignComparison") -> str:
    before, after = comparison.gammas
    ratio = "no success before" if comparison.ratio is None else f"ratio {_text(comparison.ratio)}"
    p = "" if comparison.p is None else f", p {comparison.p:.3g}"
    differs = "".join(f"\n  not only the policy differs: {what}" for what in comparison.differs)
    return (
        f"{comparison.before} to {comparison.after}: gamma {before.value:.2f} to {after.value:.2f},"
        f" {ratio}{p}{differs}"
    )


def _mitigated(layout: HomeLayout, profile: "Profile") -> str:
    """How the newest evals of the candidate recipe fared on what succeeded before."""
    from plumbline.evaluation.vault.regression_suite import SUITE, mitigated
    from plumbline.lineage.newest import newest_artifact
    from plumbline.schema.eval_report import EvalReport
    from plumbline.storage.artifacts import ArtifactStore

    store = ArtifactStore(layout.store)
    try:
        digest, _ = newest_artifact(store, HELD_OUT_EVALS, profile.digest(), profile.candidate)
    except ArtifactNotFound:
        return (
            f"earlier successes: no held-out evals of recipe {profile.candidate} yet; materialize"
            " held_out_evals"
        )
    share = mitigated(
        EvalReport.from_json(
            (store.open(digest, kind=HELD_OUT_EVALS)[0] / REPORT_FILE).read_bytes()
        )
    )
    if share is None:
        return (
            f"earlier successes: the newest evals do not have the suite {SUITE}; materialize"
            " red_team, eval_vault and held_out_evals"
        )
    interval = f"[{100 * share.low:.1f}, {100 * share.high:.1f}]"
    return (
        f"earlier successes: {share.value:.1%} {interval} of {share.n} no longer succeed against"
        f" recipe {profile.candidate}"
    )


def _text(rate: "Estimate") -> str:
    return f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]"
