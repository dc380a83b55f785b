"""Responses drawn from policies."""
