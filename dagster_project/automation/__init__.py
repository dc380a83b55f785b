"""Sensors, schedules and the checks that other systems agree."""
