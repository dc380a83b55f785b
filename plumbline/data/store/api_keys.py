"""API keys of the feedback service: who may send, collect, adjudicate and read."""

import hashlib
import hmac
import re
import secrets
import threading
from datetime import datetime
from typing import Any, Literal, get_args

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError
from sqlalchemy import select

from plumbline.data.store.database import Database, to_text
from plumbline.errors import DataError
from plumbline.records import Record
from plumbline.schema.identifiers import Identifier, Text

Scope = Literal["submit", "collect", "adjudicate", "read"]
"""submit: send events; collect: judge tasks; adjudicate: decide what votes did not; read: see
counts and queues."""
SCOPES: tuple[Scope, ...] = get_args(Scope)

_PREFIX = "plumbline"
_SHAPE = re.compile(rf"{_PREFIX}_([0-9a-f]{{16}})_([A-Za-z0-9_-]{{43}})")
_SCRYPT = {
    "n": 2**14,
    "r": 8,
    "p": 1,
    "dklen": 32,
}  # 16 MiB and some 50 ms; the secret itself has 256 bits
_REMEMBERED = 1024  # verified secrets that a process remembers, as keyed digests
_PSEUDONYM: TypeAdapter[str] = TypeAdapter(Identifier)


class ApiKey(Record):
    """A key as it is stored: everything but the secret, of which only a salted scrypt hash is
    kept."""

    id: Text
    name: Text = Field(
        description=(
            "whose key it is: the pseudonym under which judgments are recorded, or the name that"
            " signs adjudications"
        )
    )
    scopes: tuple[Scope, ...] = Field(min_length=1)
    created_at: AwareDatetime
    revoked_at: AwareDatetime | None = Field(description="null: in force")


class ApiKeys:
    """The keys in the feedback store."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._memory_key = secrets.token_bytes(32)
        self._verified: dict[bytes, bytes] = {}
        self._lock = threading.Lock()

    def create(self, name: str, scopes: tuple[Scope, ...], now: datetime) -> tuple[ApiKey, str]:
        """Make a key; returns it with its text, which is shown once and stored nowhere.

        Raises:
            DataError: If the name or the scopes cannot be used.
        """
        unknown = [scope for scope in scopes if scope not in SCOPES]
        if unknown or not scopes:
            raise DataError(
                f"scopes {', '.join(unknown) or 'are missing'}: a key needs one or more of"
                f" {', '.join(SCOPES)}"
            )
        if not name.strip() or len(name) > 128 or not name.isprintable():
            raise DataError(f"name {name!r}: must be 1 to 128 printable characters")
        if "collect" in scopes:
            try:
                _PSEUDONYM.validate_python(name)
            except ValidationError as error:
                raise DataError(
                    f"name '{name}': judgments are recorded under the name of the key, so it must"
                    " be a pseudonym of at most 64 lower-case letters, digits, '.', '_' and '-',"
                    " for example rater-07"
                ) from error
        key = ApiKey(
            id=secrets.token_hex(8),
            name=name,
            scopes=tuple(scope for scope in SCOPES if scope in scopes),
            created_at=now,
            revoked_at=None,
        )
        secret, salt = secrets.token_urlsafe(32), secrets.token_bytes(16)
        row = {
            "id": key.id,
            "name": name,
            "salt": salt,
            "hash": _hash(secret, salt),
            "scopes": ",".join(key.scopes),
            "created_at": to_text(now),
        }
        with self._database.writing() as connection:
            connection.execute(
                self._database.tables.api_keys.insert().values(**row, revoked_at=None)
            )
        return key, f"{_PREFIX}_{key.id}_{secret}"

    def verify(self, text: str) -> ApiKey | None:
        """The key in force whose text this is, or None.

        The secret is compared in constant time, and an unknown id takes as long as a wrong secret.
        A secret that was right once is remembered in this process by a keyed digest, so that only
        its first use pays for scrypt; the row is read each time, so that a revoked key ends at
        once.
        """
        shape = _SHAPE.fullmatch(text)
        if shape is None:
            return None
        identifier, secret = shape.groups()
        row = self._row(identifier)
        salt, expected = (
            (bytes(16), bytes(32)) if row is None else (bytes(row.salt), bytes(row.hash))
        )
        memory = hmac.digest(self._memory_key, secret.encode() + salt, "sha256")
        with self._lock:
            hashed = self._verified.get(memory)
        if hashed is None:
            hashed = _hash(secret, salt)
        right = hmac.compare_digest(hashed, expected)
        if row is None or not right:
            return None
        with self._lock:
            if len(self._verified) >= _REMEMBERED:
                self._verified.clear()
            self._verified[memory] = hashed
        return None if row.revoked_at is not None else _key(row)

    def find(self, identifier: str) -> ApiKey | None:
        """The key of an id, revoked or not."""
        row = self._row(identifier)
        return None if row is None else _key(row)

    def all(self) -> tuple[ApiKey, ...]:
        """Every key, the oldest first."""
        keys = self._database.tables.api_keys
        with self._database.reading() as connection:
            rows = connection.execute(select(keys).order_by(keys.c.created_at, keys.c.id)).all()
        return tuple(_key(row) for row in rows)

    def revoke(self, identifier: str, now: datetime) -> ApiKey:
        """End a key for good; a second time changes nothing.

        Raises:
            DataError: If there is no such key.
        """
        keys = self._database.tables.api_keys
        with self._database.writing() as connection:
            connection.execute(
                keys.update()
                .where(keys.c.id == identifier, keys.c.revoked_at.is_(None))
                .values(revoked_at=to_text(now))
            )
        key = self.find(identifier)
        if key is None:
            raise DataError(
                f"there is no key '{identifier}'; `plumbline feedback key list` shows the ids"
            )
        return key

    def _row(self, identifier: str) -> Any:
        keys = self._database.tables.api_keys
        with self._database.reading() as connection:
            return connection.execute(select(keys).where(keys.c.id == identifier)).first()


def _hash(secret: str, salt: bytes) -> bytes:
    return hashlib.scrypt(secret.encode(), salt=salt, **_SCRYPT)


def _key(row: Any) -> ApiKey:
    revoked = None if row.revoked_at is None else datetime.fromisoformat(row.revoked_at)
    return ApiKey(
        id=row.id,
        name=row.name,
        scopes=tuple(row.scopes.split(",")),
        created_at=datetime.fromisoformat(row.created_at),
        revoked_at=revoked,
    )
