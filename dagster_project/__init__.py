"""Composition root: definitions, jobs, sensors and the commands that need Dagster."""
