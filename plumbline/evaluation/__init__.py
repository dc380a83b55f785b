"""Scorers, statistics and the eval report."""
