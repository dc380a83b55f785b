"""Simulated people: they rate and attack a real policy of the sandbox."""
