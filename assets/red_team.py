"""Red-team campaigns: how many successes a person-hour brings, and what no longer succeeds."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import dagster as dg

from assets.lineage.materialization import CODE_VERSION, OWNERS, Upstream, publish, upstream
from assets.lineage.partitions import CAMPAIGNS, campaigns
from plumbline.lineage.ledger import Ledger
from plumbline.schema.estimates import Estimate
from plumbline.schema.kinds import CAMPAIGN_FILE
from plumbline.storage.jsonl import read_records, write_records
from resources.home import Home

if TYPE_CHECKING:
    from plumbline.evaluation.red_team.attempts import CampaignReport


@dg.asset(
    group_name="red_team",
    kinds={"jsonl", "scipy"},
    owners=OWNERS,
    code_version=CODE_VERSION,
    partitions_def=campaigns,
)
def red_team(context: dg.AssetExecutionContext, home: Home) -> dg.MaterializeResult[Any]:
    """One closed campaign: every attempt, and the successes per person-hour by tactic, expert
    domain and policy."""
    from plumbline.evaluation.red_team.attempts import campaign_report
    from plumbline.evaluation.red_team.campaigns import read_campaign
    from plumbline.evaluation.vault.regression_suite import ATTEMPTS

    name, profile = context.partition_key, home.profile()
    attempts = read_campaign(home.layout, Ledger(home.layout.ledger), name)
    report = campaign_report(name, attempts, profile.evaluation.level)
    with home.store().staging() as folder:
        write_records(folder / ATTEMPTS, attempts)
        (folder / CAMPAIGN_FILE).write_bytes(report.to_json())
        return publish(
            context,
            home,
            folder,
            parents={},
            facts={
                "campaign": name,
                "attempts": report.attempts,
                "successes": report.successes,
                "hours": report.hours,
                "policies": sorted(report.policies),
            },
            metadata=_metadata(report),
        )


def _metadata(report: "CampaignReport") -> dict[str, Any]:
    return {
        "dagster/row_count": report.attempts,
        "successes": report.successes,
        "person-hours": round(report.hours, 2),
        "gamma": dg.MetadataValue.md(f"{_text(report.gamma)} successes per person-hour"),
        "by tactic": dg.MetadataValue.md(_table("tactic", report.tactics)),
        "by expert domain": dg.MetadataValue.md(_table("domain", report.experts)),
        "by policy": dg.MetadataValue.md(_table("policy", report.policies)),
    }


@dg.asset_check(
    asset=red_team,
    description=(
        "Every attempt of the campaign is counted once, and the report follows from the attempts."
    ),
)
def every_attempt_counted(
    context: dg.AssetCheckExecutionContext, home: Home
) -> dg.AssetCheckResult:
    """Make the report of each materialized campaign again from its attempts."""
    from plumbline.evaluation.red_team.attempts import Attempt, CampaignReport, campaign_report
    from plumbline.evaluation.red_team.campaigns import read_campaign
    from plumbline.evaluation.vault.regression_suite import ATTEMPTS

    wrong: list[str] = []
    found = campaigns_of(context, home)
    for name, campaign in found.items():
        attempts = tuple(read_records(campaign.folder / ATTEMPTS, Attempt))
        kept = CampaignReport.from_json((campaign.folder / CAMPAIGN_FILE).read_bytes())
        if campaign_report(name, attempts, kept.gamma.level) != kept or attempts != read_campaign(
            home.layout, Ledger(home.layout.ledger), name
        ):
            wrong.append(name)
    return dg.AssetCheckResult(
        passed=bool(found) and not wrong,
        metadata={"campaigns": len(found), "wrong": dg.MetadataValue.json(wrong)},
    )


def campaigns_of(
    context: dg.AssetExecutionContext | dg.AssetCheckExecutionContext, home: Home
) -> dict[str, Upstream]:
    """Every materialized campaign by name; of a run for one campaign that one only."""
    own = context.has_partition_key and isinstance(context, dg.AssetCheckExecutionContext)
    names = (
        [context.partition_key]
        if own
        else sorted(context.instance.get_dynamic_partitions(CAMPAIGNS))
    )
    made = [
        name
        for name in names
        if context.instance.fetch_materializations(_of_campaign(name), limit=1).records
    ]
    return {name: upstream(context, home, "red_team", name) for name in made}


def _of_campaign(name: str) -> dg.AssetRecordsFilter:
    return dg.AssetRecordsFilter(asset_key=red_team.key, asset_partitions=[name])


def _table(title: str, rates: Mapping[str, Estimate]) -> str:
    lines = [f"| {title} | successes per person-hour | attempts |", "|---|---|---:|"]
    return "\n".join(
        [*lines, *(f"| {name} | {_text(rate)} | {rate.n} |" for name, rate in rates.items())]
    )


def _text(rate: Estimate) -> str:
    return f"{rate.value:.2f} [{rate.low:.2f}, {rate.high:.2f}]"
