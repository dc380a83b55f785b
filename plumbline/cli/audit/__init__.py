"""Commands of the auditor."""
