"""How assets show what they made: tables, plots, groups of checks."""
