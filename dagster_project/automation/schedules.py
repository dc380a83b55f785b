"""The schedule that retrains the candidate when enough feedback has come, whatever the cooldown
says."""

from datetime import UTC, datetime

import dagster as dg

from dagster_project.automation.retraining import request_retraining
from dagster_project.jobs import align
from resources.home import Home


@dg.schedule(
    job=align,
    cron_schedule=Home.from_environment().profile().retraining.schedule,
    execution_timezone="UTC",
    default_status=dg.DefaultScheduleStatus.RUNNING,
)
def retrain_on_schedule(
    context: dg.ScheduleEvaluationContext, home: Home
) -> dg.RunRequest | dg.SkipReason:
    """Request `align` for the candidate recipe when enough newly approved events are there; says
    why when they are not."""
    return request_retraining(context.instance, home, datetime.now(UTC), scheduled=True)
