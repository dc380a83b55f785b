"""Weights, tokenizers, chat templates and encoding."""
