"""The index of a feedback batch, made once."""
