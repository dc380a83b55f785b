"""Records without behaviour: what is said, never how it is computed."""
