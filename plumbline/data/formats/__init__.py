"""One file for each format of the outside world."""
