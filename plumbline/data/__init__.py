"""From feedback to certified preference data."""
