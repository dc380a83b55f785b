"""Attacks by people, their success, and what becomes of each failure."""
