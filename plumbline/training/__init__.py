"""Training: the only part of the library that uses transformers and TRL, always in a process of its
own."""
