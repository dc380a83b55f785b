"""Exercises that grade themselves: the formulas behind the numbers, and the judgment behind the
decision."""
