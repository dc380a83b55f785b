"""Commands about vault, judges, failures, guardrail and red teams."""
