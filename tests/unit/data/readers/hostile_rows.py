"""Lines of files that break readers."""

GOOD = b'{"a":1}'
