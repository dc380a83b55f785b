"""What is known about the data: agreement, baselines, drift, certificates."""
