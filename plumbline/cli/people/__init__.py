"""Commands about consent, adjudication and proposals."""
