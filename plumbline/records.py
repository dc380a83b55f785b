"""Frozen records and their canonical JSON, the only form in which records are stored or hashed."""

import hashlib
import json
from typing import Any, Self

from pydantic import BaseModel, ConfigDict


class Record(BaseModel):
    """A frozen, strict value: unknown fields, wrong types, NaN and infinities are errors."""

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    def to_json(self) -> bytes:
        """Canonical JSON of this record (see `canonical_json`)."""
        return canonical_json(self.model_dump(mode="json"))

    def digest(self) -> str:
        """`sha256:<hex>` of the canonical JSON."""
        return sha256(self.to_json())

    @classmethod
    def from_json(cls, data: bytes | str) -> Self:
        """Parse JSON into a record.

        Raises:
            pydantic.ValidationError: If a field is missing, unknown or of the wrong type.
        """
        return cls.model_validate_json(data)


def canonical_json(value: Any) -> bytes:
    """Canonical JSON: sorted keys, no spaces, UTF-8, no NaN or infinity, one trailing newline.

    Raises:
        ValueError: If the value contains NaN or an infinity.
    """
    text = json.dumps(
        value, sort_keys=True, ensure_ascii=False, allow_nan=False, separators=(",", ":")
    )
    return text.encode() + b"\n"


def sha256(data: bytes) -> str:
    """Digest of bytes with its algorithm in the name: `sha256:<64 hex>`."""
    return "sha256:" + hashlib.sha256(data).hexdigest()
