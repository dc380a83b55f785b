"""The auditor's walk from a release back to every ancestor, and what it finds."""
