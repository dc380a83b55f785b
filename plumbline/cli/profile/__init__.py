"""Commands about profiles and rubrics."""
