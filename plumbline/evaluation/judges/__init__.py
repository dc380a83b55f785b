"""Judges beside the scorer: the refusal detector, the reward model, a language model; and how far
each can be relied on."""
