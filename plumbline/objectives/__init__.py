"""Objectives: losses and masks, as free functions with the paper's equation numbers."""
