"""Frozen records and their canonical JSON, the only form in which records are stored or hashed."""

import hashlib
import json
import math
from typing import Any, Final, NoReturn, Self

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


class JsonError(ValueError):
    """Why bytes are not strict JSON; the message says it with the place."""

    def __init__(self, defect: str, message: str) -> None:
        super().__init__(message)
        self.defect = defect
        """The same words for every text with this defect."""


def short(digest: str) -> str:
    """The first 12 hex digits of a digest, for people."""
    return digest.removeprefix("sha256:")[:12]


def parse_json(data: bytes) -> Any:
    """Parse strict JSON: UTF-8, no duplicate keys, no NaN, no number beyond the range of a float.

    Raises:
        JsonError: If the data breaks one of these rules; says which.
    """
    if not data.strip():
        raise JsonError("empty row", "the row is empty")
    try:
        return _STRICT.decode(data.decode())
    except UnicodeDecodeError as error:
        raise JsonError("not UTF-8", f"not UTF-8 at byte {error.start}") from error
    except json.JSONDecodeError as error:
        marked = error.doc.startswith("\ufeff")
        reason = "Unexpected UTF-8 BOM (decode using utf-8-sig)" if marked else error.msg
        raise JsonError("not JSON", f"not JSON: {reason} at character {error.pos}") from error
    except RecursionError as error:
        raise JsonError("nested too deeply", "not usable JSON: nested too deeply") from error
    except JsonError:
        raise
    except ValueError as error:  # an integer of thousands of digits
        raise JsonError("number out of range", str(error)) from error


def _unique_keys(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        seen: set[str] = set()
        for key, _ in pairs:
            if key in seen:
                raise JsonError("key stands twice", f"key '{key}' stands twice")
            seen.add(key)
    return value


def _no_constant(name: str) -> NoReturn:
    raise JsonError("number out of range", f"{name} is not a number that JSON can carry")


def _finite(text: str) -> float:
    number = float(text)
    if not math.isfinite(number):
        raise JsonError("number out of range", f"{text} is beyond the range of a float")
    return number


_STRICT: Final = json.JSONDecoder(
    object_pairs_hook=_unique_keys, parse_constant=_no_constant, parse_float=_finite
)
