"""From accepted events to preference pairs: votes, splits, files."""
