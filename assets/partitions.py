"""The two partition dimensions: closed feedback batches, and the recipes of the profile."""

import dagster as dg

from resources.home import Home

FEEDBACK_BATCHES = "feedback_batches"
feedback_batches = dg.DynamicPartitionsDefinition(name=FEEDBACK_BATCHES)
"""One partition for each closed, immutable batch of feedback events."""

recipes = dg.StaticPartitionsDefinition(sorted(Home.from_environment().profile().recipes))
"""One partition for each recipe, so that comparing objectives or sweeping beta is a backfill."""
