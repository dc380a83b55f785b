"""One file for each method that trains a model."""
