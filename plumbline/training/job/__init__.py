"""A job: its specification, its folder and its checkpoints."""
