"""Composition root: the assets, checks, jobs, schedules and sensors of the profile that
PLUMBLINE_PROFILE names."""

import dagster as dg

from assets import (
    data,
    evals,
    feedback,
    guardrail,
    judges,
    models,
    policy,
    promotion,
    red_team,
    release,
    report,
    vault,
)
from dagster_project.automation.campaigns import collect_campaigns, measure_campaign
from dagster_project.automation.releases import keep_champion, promote_when_signed
from dagster_project.automation.schedules import retrain_on_schedule
from dagster_project.automation.sensors import (
    close_feedback_batches,
    collect_inbox,
    retrain_on_feedback,
)
from dagster_project.jobs import align, ingest_feedback, promote
from resources.home import Home
from resources.launch.launcher import TrainingLauncher
from resources.registry import ModelRegistry
from resources.snapshots import DatasetSnapshots
from resources.tracking import ExperimentTracker

home = Home.from_environment()
tracker = ExperimentTracker(home=home)
MODULES = [
    policy,
    feedback,
    vault,
    data,
    models,
    judges,
    evals,
    red_team,
    guardrail,
    release,
    report,
    promotion,
]

defs = dg.Definitions(
    assets=dg.load_assets_from_modules(MODULES),
    # Checks are not loaded with their assets; without this line every gate would vanish silently.
    asset_checks=dg.load_asset_checks_from_modules(MODULES),
    jobs=[align, ingest_feedback, measure_campaign, promote],
    schedules=[retrain_on_schedule],
    sensors=[
        collect_inbox,
        close_feedback_batches,
        retrain_on_feedback,
        collect_campaigns,
        promote_when_signed,
        keep_champion,
    ],
    executor=dg.in_process_executor,
    resources={
        "home": home,
        "launcher": TrainingLauncher(home=home, tracker=tracker),
        "tracker": tracker,
        "registry": ModelRegistry(home=home),
        "snapshots": DatasetSnapshots(home=home),
    },
)
