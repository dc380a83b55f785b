"""Commands about people: consent, and pairs that people decide."""
