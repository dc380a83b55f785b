"""The release report: everything that a person reads before signing."""
