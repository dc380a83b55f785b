"""How a training job becomes a process."""
