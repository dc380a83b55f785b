"""A synthetic world with a known true utility."""
