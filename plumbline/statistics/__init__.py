"""Intervals, paired tests and agreement: numbers that say how sure they are."""
