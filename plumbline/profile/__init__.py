"""The profile: one complete, committed, named configuration of a run, one file a concern."""
