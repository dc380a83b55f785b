"""Frozen records and their canonical JSON, the only form in which records are stored or hashed."""

import hashlib
import json
import math
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


def parse_json(data: bytes) -> Any:
    """Parse strict JSON: UTF-8, no duplicate keys, no NaN, no number beyond the range of a float.

    Raises:
        ValueError: If the data breaks one of these rules; says which.
    """
    if not data.strip():
        raise ValueError("the row is empty")
    try:
        return json.loads(
            data.decode(),
            object_pairs_hook=_unique_keys,
            parse_constant=_reject_constant,
            parse_float=_finite,
        )
    except UnicodeDecodeError as error:
        raise ValueError(f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        raise ValueError(f"not JSON: {error.msg} at character {error.pos}") from error
    except RecursionError as error:
        raise ValueError("not usable JSON: nested too deeply") from error


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value: dict[str, object] = {}
    for key, item in pairs:
        if key in value:
            raise ValueError(f"key '{key}' stands twice")
        value[key] = item
    return value


def _reject_constant(name: str) -> None:
    raise ValueError(f"{name} is not a number that JSON can carry")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise ValueError(f"{text} is beyond the range of a float")
    return number
