"""Commands that bring feedback in, and what became of it."""
