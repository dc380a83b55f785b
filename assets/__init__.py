"""The asset graph: one stage in a file, each with its checks."""
