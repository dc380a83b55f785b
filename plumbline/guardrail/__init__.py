"""The runtime guardrail: a violation classifier with a threshold that ships with its false-positive
and false-negative rates."""
