"""Exercises on formulas and judgment that grade themselves."""
