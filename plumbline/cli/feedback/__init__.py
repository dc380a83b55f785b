"""Commands that bring feedback in and look at the data."""
