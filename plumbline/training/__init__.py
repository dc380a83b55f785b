"""Jobs that train or sample, each in a process of its own."""
