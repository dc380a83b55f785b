"""Commands of the sandbox and the exercises."""
