"""Identifiers, digests and paths: the strings that name things."""

import hashlib
from typing import Annotated

from pydantic import AfterValidator, StringConstraints

from plumbline.records import canonical_json

IDENTIFIER = r"^[a-z0-9][a-z0-9._-]{0,63}$"


Identifier = Annotated[str, StringConstraints(pattern=IDENTIFIER)]


Text = Annotated[str, StringConstraints(min_length=1)]


def content_id(value: object) -> str:
    """Content-derived identifier: the first 40 hex digits of the SHA-256 of the canonical JSON."""
    return hashlib.sha256(canonical_json(value)).hexdigest()[:40]


def _stays_inside(path: str) -> str:
    if not path or path.startswith("/") or ".." in path.split("/"):
        raise ValueError(f"'{path}' must be a relative path that stays inside its folder")
    return path


RelativePath = Annotated[str, AfterValidator(_stays_inside)]


Digest = Annotated[str, StringConstraints(pattern=r"^sha256:[0-9a-f]{64}$")]
