"""Rows of files from outside, read strictly."""
