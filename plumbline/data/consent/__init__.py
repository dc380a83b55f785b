"""Consent that was withdrawn, what it excludes, and erasure."""
