"""Dagster resources: one vendor per file, its SDK imported inside methods."""
