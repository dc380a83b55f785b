"""How policies are measured: the vault, scorers, judges, failure modes, the report."""
