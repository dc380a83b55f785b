"""Plumbline: preference alignment of language models that can be audited."""

__version__ = "0.1.0"
