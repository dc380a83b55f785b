"""Commands that review, sign, release and roll back."""
