"""Near duplicates, and texts that repeat held-out ones."""
