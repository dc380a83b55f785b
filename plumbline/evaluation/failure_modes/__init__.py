"""Five ways in which a policy gets better on paper only."""
