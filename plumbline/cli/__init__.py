"""The command line: one folder for each part of a user's work."""
