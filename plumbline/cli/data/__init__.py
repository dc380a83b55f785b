"""Questions about files of data."""
