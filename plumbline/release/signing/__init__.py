"""Who signs, with which key, for which candidate, and who is trusted."""
