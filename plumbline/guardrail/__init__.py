"""The runtime threshold, shipped with its false-positive and false-negative rates."""
