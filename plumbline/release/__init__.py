"""Certificates, gates and the release decision."""
