"""Red-team campaigns become partitions: one run for each campaign that somebody took in."""

import dagster as dg

from assets.lineage.partitions import campaigns
from resources.home import Home

measure_campaign = dg.define_asset_job(
    "measure_campaign",
    selection=dg.AssetSelection.groups("red_team"),
    description="Successes per person-hour of one red-team campaign.",
)


@dg.sensor(
    job=measure_campaign, minimum_interval_seconds=30, default_status=dg.DefaultSensorStatus.RUNNING
)
def collect_campaigns(
    context: dg.SensorEvaluationContext, home: Home
) -> dg.SensorResult | dg.SkipReason:
    """Request `red_team` once for each campaign in the ledger."""
    from plumbline.evaluation.red_team.campaigns import KIND, campaign_names

    ledger = home.ledger()
    known = set(context.instance.get_dynamic_partitions(campaigns.name or ""))
    recorded = [
        (name, entry)
        for name in campaign_names(home.layout)
        if (entry := ledger.find(KIND, f"{home.layout.profile}/{name}")) is not None
    ]
    new = [(name, entry.body["digest"]) for name, entry in recorded if name not in known]
    if not new:
        return dg.SkipReason(
            f"{len(recorded)} campaigns were requested before; `plumbline evaluate redteam add`"
            " takes in another"
        )
    return dg.SensorResult(
        dynamic_partitions_requests=[campaigns.build_add_request([name for name, _ in new])],
        run_requests=[
            dg.RunRequest(run_key=f"campaign:{name}:{digest}", partition_key=name)
            for name, digest in new
        ],
    )
