"""A synthetic world with a known true utility, in which the whole chain from feedback to release
can be checked."""
