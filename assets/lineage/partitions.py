"""The partition dimensions: closed feedback batches, the recipes of the profile, and the campaigns
of red teams."""

import dagster as dg

from resources.home import Home

FEEDBACK_BATCHES = "feedback_batches"
feedback_batches = dg.DynamicPartitionsDefinition(name=FEEDBACK_BATCHES)
"""One partition for each closed, immutable batch of feedback events."""

recipes = dg.StaticPartitionsDefinition(sorted(Home.from_environment().profile().recipes))
"""One partition for each recipe, so that comparing objectives or sweeping beta is a backfill."""

CAMPAIGNS = "campaigns"
campaigns = dg.DynamicPartitionsDefinition(name=CAMPAIGNS)
"""One partition for each closed campaign of a red team."""
