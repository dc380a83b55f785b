"""What counts as a refusal: matched strings, and a detector trained on human labels."""
